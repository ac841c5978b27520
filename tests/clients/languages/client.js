// An experiment client with nothing but fetch: arguments are the base URL, the key, the flag and the experiment.
const [base, key, flag, experiment] = process.argv.slice(2);

async function call(path, body) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const answer = await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

(async () => {
  const flagged = await call(`/ofrep/v1/evaluate/flags/${flag}`, { context: { targetingKey: "u1" } });
  const events = [0, 1, 2].map((n) => ({ user_id: `u${n}`, event_type: "view", experiment_id: experiment }));
  const stored = await call("/api/v1/events/batch", { events });
  console.log(JSON.stringify({ value: flagged.value, processed: stored.data.processed }));
})();
