"""Prints what the client uses only where the server's version is high enough."""

import json

from phoenix.client.constants import server_requirements
from phoenix.client.utils.server_requirements import ParameterRequirement, RouteRequirement

gates = []
for gate in vars(server_requirements).values():
    if isinstance(gate, RouteRequirement):
        gates.append({"route": f"{gate.method} {gate.path}", "version": gate.min_server_version})
    elif isinstance(gate, ParameterRequirement):
        gates.append({"route": gate.route, "parameter": gate.parameter_name, "where": gate.parameter_location, "version": gate.min_server_version})
print(json.dumps(gates))
