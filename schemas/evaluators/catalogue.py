"""Every evaluator. `type` says which one a rule has."""

from schemas.evaluators.json_schema import JsonSchema
from schemas.evaluators.judge import Judge
from schemas.evaluators.limits import CostLimit, Latency, TokenLimit
from schemas.evaluators.pattern import Regex
from schemas.evaluators.similarity import Similarity
from schemas.evaluators.words import Contains, Equals

CodeEvaluator = Regex | JsonSchema | Contains | Equals | Latency | TokenLimit | CostLimit | Similarity
"""Those that judge at once."""
Evaluator = CodeEvaluator | Judge
