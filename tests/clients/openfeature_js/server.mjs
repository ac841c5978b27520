// Evaluates what is asked for on standard input with the OpenFeature server SDK and its OFREP provider.
// In: {"url", "key", "flags": [{"key", "type", "fallback"}], "context"}. Out: one line, an array of evaluation details.

import { text } from "node:stream/consumers";
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const asked = JSON.parse(await text(process.stdin));
const provider = new OFREPProvider({ baseUrl: asked.url, headers: [["Authorization", `Bearer ${asked.key}`]] });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const details = {
  boolean: (flag) => client.getBooleanDetails(flag.key, flag.fallback, asked.context),
  string: (flag) => client.getStringDetails(flag.key, flag.fallback, asked.context),
  number: (flag) => client.getNumberDetails(flag.key, flag.fallback, asked.context),
  object: (flag) => client.getObjectDetails(flag.key, flag.fallback, asked.context),
};
const found = [];
for (const flag of asked.flags) found.push(await details[flag.type](flag));
console.log(JSON.stringify(found));
await OpenFeature.close();
