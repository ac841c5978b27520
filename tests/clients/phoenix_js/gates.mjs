// Prints what the client uses only where the server's version is high enough.
import { ALL_REQUIREMENTS } from "./node_modules/@arizeai/phoenix-client/dist/esm/constants/serverRequirements.js";

const gates = ALL_REQUIREMENTS.map((gate) => ({
  route: gate.kind === "route" ? `${gate.method} ${gate.path}` : gate.route,
  version: gate.minServerVersion,
  ...(gate.kind === "parameter" ? { parameter: gate.parameterName, where: gate.parameterLocation } : {}),
}));
console.log(JSON.stringify(gates));
