// Records a traced function with phoenix-otel in each of the given ways; prints the ways that failed, with the status.
import { register, traceChain } from "@arizeai/phoenix-otel";

for (const { name, env, options } of JSON.parse(await new Response(process.stdin).text())) {
  Object.assign(process.env, env);
  const provider = register(options);
  await traceChain(async (question) => question.toUpperCase(), { name })("how?");
  await provider.forceFlush().catch(([error]) => console.log(`${name} ${error.code}`));
  await provider.shutdown();
  Object.keys(env).forEach((each) => delete process.env[each]);
}
