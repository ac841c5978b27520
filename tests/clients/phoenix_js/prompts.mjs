// Makes a prompt, gets it in every way and turns it into what each SDK takes; prints what it got.
import { createClient } from "@arizeai/phoenix-client";
import { createPrompt, getPrompt, listPrompts, promptVersion, toSDK } from "@arizeai/phoenix-client/prompts";

const given = JSON.parse(await new Response(process.stdin).text());
const client = createClient({ options: { baseUrl: given.url, headers: { Authorization: `Bearer ${given.key}` } } });
const { name } = given;

const openai = promptVersion({
  description: "first",
  modelProvider: "OPENAI",
  modelName: "gpt-4o-mini",
  template: [
    { role: "system", content: "Answer in {{language}}." },
    { role: "user", content: "Write about {{topic}}" },
  ],
  invocationParameters: { temperature: 0.5 },
});
const created = await createPrompt({ client, name, description: "A haiku", version: openai });
const anthropic = promptVersion({
  modelProvider: "ANTHROPIC",
  modelName: "claude-sonnet",
  template: [{ role: "user", content: "{topic}?" }],
  templateFormat: "F_STRING",
  invocationParameters: { max_tokens: 64 },
});
const second = await createPrompt({ client, name, version: anthropic });
await client.POST("/v1/prompt_versions/{prompt_version_id}/tags", {
  params: { path: { prompt_version_id: created.id } },
  body: { name: "production", description: null },
});

const latest = await getPrompt({ client, prompt: { name } });
const tagged = await getPrompt({ client, prompt: { name, tag: "production" } });
const byId = await getPrompt({ client, prompt: { versionId: created.id } });
const raw = await client.GET("/v1/prompts/{prompt_identifier}/latest", { params: { path: { prompt_identifier: name } } });
const variables = { topic: "rain", language: "French" };
const missing = await getPrompt({ client, prompt: { name: `${name}-none` } });
console.warn = () => {};
console.log(
  JSON.stringify({
    created,
    latest: latest.id === second.id && raw.data.data.id === second.id,
    tagged: tagged.id === created.id,
    byId: byId.id === created.id,
    model: tagged.model_name,
    listed: (await listPrompts({ client })).filter((prompt) => prompt.name === name),
    openai: toSDK({ sdk: "openai", prompt: tagged, variables }),
    ai: toSDK({ sdk: "ai", prompt: tagged, variables }),
    anthropic: toSDK({ sdk: "anthropic", prompt: latest, variables }),
    missing,
    datasets: (await client.GET("/v1/datasets")).data,
    version: await client.getServerVersion(),
  }),
);
