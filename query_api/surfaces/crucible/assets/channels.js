/**
 * Phoenix Channels over `socket/websocket`, in version 2 of their messages: `[join_ref, ref, topic, event, payload]`. One connection serves the page while
 * it has joined something; the session's cookie opens it.
 */

const HEARTBEAT_MS = 30_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** For so long a connection without a topic is kept, since views join one after another. */
const SPARE_MS = 3_000;

const topics = new Map();
let socket = null;
let refs = 0;
let pause = FIRST_PAUSE_MS;
let again = 0;
let beat = 0;
let spare = 0;
let unanswered = null;
let report = () => {};

/** Has `told` hear how the connection is: `live`, `connecting`, `connection lost, trying again`, or null where none is needed. */
export function watched(told) {
  report = told;
}

/**
 * Joins a topic until the signal is aborted. `told` hears each event and its payload, and `joined` each time that the topic is joined: what happened before
 * that, also while the connection was lost, has to be read. Doing it again with the same signal changes nothing unless the topic was refused, which is then
 * asked for again.
 */
export function join(topic, signal, told) {
  if (signal.aborted || topics.get(topic)?.signal === signal) return;
  const mine = { told, signal, ref: null };
  topics.set(topic, mine);
  clearTimeout(spare);
  if (socket?.readyState === WebSocket.OPEN) ask(topic, mine);
  else if (!socket && !again) connect();
  signal.addEventListener("abort", () => leave(topic, mine), { once: true });
}

function leave(topic, mine) {
  if (topics.get(topic) !== mine) return;
  topics.delete(topic);
  if (socket?.readyState === WebSocket.OPEN) send(mine.ref, topic, "phx_leave");
  if (!topics.size) spare = setTimeout(close, SPARE_MS);
}

function connect() {
  again = 0;
  report("connecting");
  const mine = new WebSocket(new URL("socket/websocket?vsn=2.0.0", location.href.replace(/^http/, "ws")));
  socket = mine;
  mine.addEventListener("open", () => {
    if (mine !== socket) return;
    unanswered = null;
    beat = setInterval(heartbeat, HEARTBEAT_MS);
    topics.forEach((each, topic) => ask(topic, each));
  });
  mine.addEventListener("message", ({ data }) => mine === socket && take(...JSON.parse(data)));
  mine.addEventListener("close", () => mine === socket && lost());
}

function close() {
  const old = socket;
  socket = null;
  clearInterval(beat);
  clearTimeout(again);
  again = 0;
  old?.close();
  report(null);
}

function lost() {
  close();
  if (!topics.size) return;
  report("connection lost, trying again");
  again = setTimeout(connect, pause);
  pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
}

function heartbeat() {
  // A connection whose other side is gone says so only after minutes.
  if (unanswered) lost();
  else unanswered = send(null, "phoenix", "heartbeat");
}

function ask(topic, mine) {
  mine.ref = String(refs + 1);
  send(mine.ref, topic, "phx_join");
}

function send(joinRef, topic, event) {
  refs += 1;
  socket.send(JSON.stringify([joinRef, String(refs), topic, event, {}]));
  return String(refs);
}

function take(joinRef, ref, topic, event, payload) {
  if (ref !== null && ref === unanswered) unanswered = null;
  const mine = topics.get(topic);
  if (!mine || joinRef !== mine.ref) return;
  if (event !== "phx_reply") mine.told(event, payload);
  else if (ref === mine.ref) {
    pause = FIRST_PAUSE_MS;
    report(payload.status === "ok" ? "live" : null);
    if (payload.status === "ok") mine.told("joined", payload.response);
    else topics.delete(topic);
  }
}
