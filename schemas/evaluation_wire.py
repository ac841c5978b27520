"""The protobuf message `phoenix.proto.evaluation.v1.Evaluation`, which earlier clients of Arize Phoenix post, declared anew with the same field numbers.

The well-known wrappers of numbers and texts have one field with number 1, and so have ours.
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "millstream.evaluation.v1"
_SCALARS: Final = {"string": FieldDescriptorProto.TYPE_STRING, "int32": FieldDescriptorProto.TYPE_INT32, "double": FieldDescriptorProto.TYPE_DOUBLE}
# message: its fields in the order of their numbers, from 1; the fields of Subject exclude each other
_MESSAGES: Final = {
    "Number": {"value": "double"},
    "Text": {"value": "string"},
    "Document": {"span_id": "string", "document_position": "int32"},
    "Subject": {"trace_id": "string", "span_id": "string", "document_retrieval_id": "Document"},
    "Result": {"score": "Number", "label": "Text", "explanation": "Text"},
    "Evaluation": {"name": "string", "subject_id": "Subject", "result": "Result"},
}


def _message(name: str, fields: dict[str, str]) -> DescriptorProto:
    message = DescriptorProto(name=name)
    if name == "Subject":
        message.oneof_decl.add(name="kind")
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = message.field.add(name=field, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if kind in _SCALARS:
            added.type = _SCALARS[kind]
        else:
            added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
        if name == "Subject":
            added.oneof_index = 0
    return message


def _evaluation() -> type[Any]:
    file = FileDescriptorProto(name="millstream/evaluation.proto", package=_PACKAGE, syntax="proto3")
    file.message_type.extend(_message(name, fields) for name, fields in _MESSAGES.items())
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Evaluation"))


Evaluation: Final = _evaluation()
"""One evaluation of a span, a trace or a document. `subject_id.WhichOneof("kind")` says which."""
