// A program for Anthropic's API that asks `llmfail serve`: nothing but base URL and key is other than before.
// `model` names a feature of the configuration, or a target such as anthropic/claude-sonnet-5-5.
import Anthropic from "@anthropic-ai/sdk";

const gateway = process.env.LLMFAIL_URL ?? "http://127.0.0.1:4000";
const client = new Anthropic({ baseURL: gateway, apiKey: process.env.LLMFAIL_KEY ?? "none" });
const content = process.argv.slice(2).join(" ") || "Say hello";

try {
  const stream = client.messages.stream({ model: "default", max_tokens: 1000, messages: [{ role: "user", content }] });
  stream.on("text", (text) => process.stdout.write(text));
  await stream.finalMessage(); // throws when the stream breaks off in the middle
  process.stdout.write("\n");
} catch (error) {
  console.error(`no answer: ${error.message}`);
  process.exitCode = 1;
}
