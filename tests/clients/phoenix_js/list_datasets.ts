// The datasets of a server, by the typed client; address and key come from the environment, as the client documents them.
import { createClient } from "@arizeai/phoenix-client";

const { data, error } = await createClient().GET("/v1/datasets");
if (error !== undefined) {
  throw new Error(JSON.stringify(error));
}
console.log(JSON.stringify(data.data.map(({ id, name }: { id: string; name: string }) => ({ id, name }))));
