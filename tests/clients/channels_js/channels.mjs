// Joins topics with the client of Phoenix Channels and prints what comes, one JSON line each; ends when standard input does.
import readline from "node:readline";
import { Socket } from "phoenix";
import WebSocket from "ws";

const { url, token, authToken, topics } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const socket = new Socket(url, { params: token ? { token } : {}, authToken, transport: WebSocket, heartbeatIntervalMs: 1000 });
socket.onOpen(() => say({ opened: true }));
socket.onError(() => say({ failed: true }));
socket.connect();

const channels = {};
for (const topic of topics) {
  const channel = socket.channel(topic, {});
  channels[topic] = channel;
  channel.onMessage = (event, payload) => {
    if (!event.startsWith("phx_") && !event.startsWith("chan_reply_")) say({ topic, event, payload });
    return payload;
  };
  channel.onClose(() => say({ topic, closed: true }));
  channel.join().receive("ok", (answer) => say({ topic, joined: answer })).receive("error", (answer) => say({ topic, refused: answer }));
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { topic, event, payload } = JSON.parse(line);
  if (event === "leave") channels[topic].leave().receive("ok", () => say({ topic, left: true }));
  else channels[topic].push(event, payload).receive("ok", (answer) => say({ topic, reply: answer })).receive("error", (answer) => say({ topic, error: answer }));
}
process.exit(0);
