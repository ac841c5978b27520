// The OpenFeature web SDK with its OFREP provider, as a page uses it, but for the EventSource that Node 20 lacks.
// In, as the argument: {"url", "key", "flag", "fallback", "context", "next"}. Out: a line with the evaluation details at the start, a line
// for the context `next`, and then a line after each change that the provider hears of, until standard input ends.

import { EventSource } from "eventsource";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";

globalThis.EventSource = EventSource;
const asked = JSON.parse(process.argv[2]);
const show = () => console.log(JSON.stringify(OpenFeature.getClient().getBooleanDetails(asked.flag, asked.fallback)));

const provider = new OFREPWebProvider({ baseUrl: asked.url, headers: [["Authorization", `Bearer ${asked.key}`]], pollInterval: 0 });
await OpenFeature.setContext(asked.context);
await OpenFeature.setProviderAndWait(provider);
show();
await OpenFeature.setContext(asked.next);
show();
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, show);
process.stdin.resume();
process.stdin.on("end", async () => {
  await OpenFeature.close();
  process.exit(0);
});
