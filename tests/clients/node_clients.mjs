// The clients from npm, driven by jobs: one JSON object a line on standard input, one result a line on standard output.
//
// A job names the client, what it does (text, tools, embed), where, and with which key and model. Each answer says what
// the client says: its text, its calls of tools, why it ended, or the class of the error that it raised.
import { createInterface } from "node:readline";

globalThis.AI_SDK_LOG_WARNINGS = false; // they would stand between the results

const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const NAMES = ["weather", "time"];
const QUESTION = "Weather and time in Rome?";
const describe = (name) => `The ${name} of a city.`;
const resultOf = (name) => `of ${name}`;

// ---- openai: chat completions
async function openaiClient(job) {
  const { default: OpenAI } = await import("openai");
  return new OpenAI({ baseURL: `${job.base}/v1`, apiKey: job.key, ...retries(job) });
}

async function chatTurn(client, job, messages, tools) {
  const request = { model: job.model, messages, ...(tools && { tools }), ...job.extra };
  if (!job.stream) {
    const reply = await client.chat.completions.create(request);
    const [choice] = reply.choices;
    return { message: choice.message, finish: choice.finish_reason, usage: reply.usage };
  }
  const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
  for await (const _ of stream) tell(job);
  const reply = await stream.finalChatCompletion();
  const { message, finish_reason: finish } = reply.choices[0];
  return { message, finish, usage: await stream.totalUsage() };
}

const openai = {
  async text(job) {
    const turn = await chatTurn(await openaiClient(job), job, [{ role: "user", content: job.prompt }]);
    return { text: turn.message.content, finish: turn.finish, usage: turn.usage };
  },
  async tools(job) {
    const client = await openaiClient(job);
    const tools = NAMES.map((name) => ({
      type: "function",
      function: { name, description: describe(name), parameters: CITY },
    }));
    const messages = [];
    return converse(job, async (question, results) => {
      if (question) messages.push({ role: "user", content: question });
      for (const { id, name } of results) {
        messages.push({ role: "tool", tool_call_id: id, content: resultOf(name) });
      }
      const { message, finish } = await chatTurn(client, job, messages, tools);
      messages.push(message);
      const calls = (message.tool_calls ?? []).map((call) => ({
        id: call.id,
        name: call.function.name,
        arguments: JSON.parse(call.function.arguments),
      }));
      return { calls, text: message.content, finish };
    });
  },
  async embed(job) {
    const client = await openaiClient(job);
    const reply = await client.embeddings.create({ model: job.model, input: job.input, ...job.extra });
    return { vectors: reply.data.map((row) => row.embedding), usage: reply.usage };
  },
  async models(job) {
    const found = [];
    for await (const model of (await openaiClient(job)).models.list()) found.push(model.id);
    return { models: found };
  },
};

// ---- openai: responses
async function responsesTurn(client, job, input, tools) {
  const request = { model: job.model, input, store: false, ...(tools && { tools }), ...job.extra };
  if (!job.stream) return client.responses.create({ ...request, include: ["reasoning.encrypted_content"] });
  const stream = client.responses.stream({ ...request, include: ["reasoning.encrypted_content"] });
  for await (const _ of stream) tell(job);
  return stream.finalResponse();
}

const responses = {
  async text(job) {
    const reply = await responsesTurn(await openaiClient(job), job, job.prompt);
    return { text: reply.output_text, finish: reply.status, usage: reply.usage };
  },
  async tools(job) {
    const client = await openaiClient(job);
    const tools = NAMES.map((name) => ({ type: "function", name, description: describe(name), parameters: CITY, strict: false }));
    const input = [];
    return converse(job, async (question, results) => {
      if (question) input.push({ role: "user", content: question });
      for (const { id, name } of results) {
        input.push({ type: "function_call_output", call_id: id, output: resultOf(name) });
      }
      const reply = await responsesTurn(client, job, input, tools);
      input.push(...reply.output);
      const calls = reply.output
        .filter((item) => item.type === "function_call")
        .map((item) => ({ id: item.call_id, name: item.name, arguments: JSON.parse(item.arguments) }));
      return { calls, text: reply.output_text, finish: reply.status };
    });
  },
};

// ---- anthropic
async function anthropicTurn(job, messages, tools) {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: job.base, apiKey: job.key, ...retries(job) });
  const request = { model: job.model, max_tokens: 2000, messages, ...(tools && { tools }), ...job.extra };
  if (!job.stream) return client.messages.create(request);
  const stream = client.messages.stream(request);
  for await (const _ of stream) tell(job);
  return stream.finalMessage();
}

const textOf = (blocks) => blocks.filter((block) => block.type === "text").map((block) => block.text).join("");

const anthropic = {
  async text(job) {
    const reply = await anthropicTurn(job, [{ role: "user", content: job.prompt }]);
    return { text: textOf(reply.content), finish: reply.stop_reason, usage: reply.usage };
  },
  async tools(job) {
    const tools = NAMES.map((name) => ({ name, description: describe(name), input_schema: CITY }));
    const messages = [];
    return converse(job, async (question, results) => {
      const content = results.map(({ id, name }) => ({
        type: "tool_result",
        tool_use_id: id,
        content: resultOf(name),
      }));
      messages.push({ role: "user", content: question ?? content });
      const reply = await anthropicTurn(job, messages, tools);
      messages.push({ role: "assistant", content: reply.content });
      const calls = reply.content
        .filter((block) => block.type === "tool_use")
        .map((block) => ({ id: block.id, name: block.name, arguments: block.input }));
      return { calls, text: textOf(reply.content), finish: reply.stop_reason };
    });
  },
};

// ---- @google/genai
async function googleTurn(job, contents, tools) {
  const { GoogleGenAI } = await import("@google/genai");
  const client = new GoogleGenAI({ apiKey: job.key, httpOptions: { baseUrl: job.base } });
  const config = { ...(tools && { tools: [{ functionDeclarations: tools }] }), ...job.extra };
  const request = { model: job.model, contents, config };
  if (!job.stream) {
    const reply = await client.models.generateContent(request);
    return { parts: reply.candidates[0].content.parts, finish: reply.candidates[0].finishReason, usage: reply.usageMetadata };
  }
  const turn = { parts: [], finish: undefined, usage: undefined };
  for await (const chunk of await client.models.generateContentStream(request)) {
    tell(job);
    const candidate = chunk.candidates?.[0];
    turn.parts.push(...(candidate?.content?.parts ?? []));
    turn.finish = candidate?.finishReason ?? turn.finish;
    turn.usage = chunk.usageMetadata ?? turn.usage;
  }
  return turn;
}

const spoken = (parts) => parts.filter((part) => part.text && !part.thought).map((part) => part.text).join("");

const google = {
  async text(job) {
    const turn = await googleTurn(job, [{ role: "user", parts: [{ text: job.prompt }] }]);
    return { text: spoken(turn.parts), finish: turn.finish, usage: turn.usage };
  },
  async tools(job) {
    const tools = NAMES.map((name) => ({ name, description: describe(name), parametersJsonSchema: CITY }));
    const contents = [];
    return converse(job, async (question, results) => {
      const parts = results.map(({ id, name }) => ({
        functionResponse: { id, name, response: { result: resultOf(name) } },
      }));
      contents.push({ role: "user", parts: question ? [{ text: question }] : parts });
      const turn = await googleTurn(job, contents, tools);
      contents.push({ role: "model", parts: turn.parts });
      const calls = turn.parts
        .filter((part) => part.functionCall)
        .map(({ functionCall }) => ({ id: functionCall.id, name: functionCall.name, arguments: functionCall.args }));
      return { calls, text: spoken(turn.parts), finish: turn.finish };
    });
  },
};

// ---- the AI SDK, with the providers that people give it
async function aiModel(job) {
  const given = { apiKey: job.key };
  switch (job.client) {
    case "ai-responses":
      return (await import("@ai-sdk/openai")).createOpenAI({ ...given, baseURL: `${job.base}/v1` })(job.model);
    case "ai-chat":
      return (await import("@ai-sdk/openai")).createOpenAI({ ...given, baseURL: `${job.base}/v1` }).chat(job.model);
    case "ai-compatible": {
      const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
      return createOpenAICompatible({ ...given, name: "llmfail", baseURL: `${job.base}/v1` })(job.model);
    }
    case "ai-anthropic":
      return (await import("@ai-sdk/anthropic")).createAnthropic({ ...given, baseURL: `${job.base}/v1` })(job.model);
    case "ai-google": {
      const { createGoogleGenerativeAI } = await import("@ai-sdk/google");
      return createGoogleGenerativeAI({ ...given, baseURL: `${job.base}/v1beta` })(job.model);
    }
  }
}

async function aiTurn(job, request) {
  const { generateText, streamText } = await import("ai");
  // Without this, the provider for OpenAI refers to earlier turns by their ids, as if all of them were stored there.
  const providerOptions = { openai: { store: job.store ?? false } };
  const asked = { model: await aiModel(job), ...retries(job), providerOptions, ...request };
  if (!job.stream) return generateText(asked);
  let problem;
  const stream = streamText({ ...asked, onError: ({ error }) => (problem = error) });
  for await (const _ of stream.textStream) tell(job);
  if (problem) throw problem;
  return {
    text: await stream.text,
    finishReason: await stream.finishReason,
    usage: await stream.usage,
    steps: await stream.steps,
    response: await stream.response,
  };
}

const ai = {
  async text(job) {
    const reply = await aiTurn(job, { prompt: job.prompt });
    return { text: reply.text, finish: reply.finishReason, usage: reply.usage };
  },
  async tools(job) {
    const { jsonSchema, stepCountIs, tool } = await import("ai");
    const tools = Object.fromEntries(
      NAMES.map((name) => [
        name,
        tool({ description: describe(name), inputSchema: jsonSchema(CITY), execute: async () => resultOf(name) }),
      ]),
    );
    const messages = [];
    const turns = [];
    for (const model of modelsOf(job)) {
      job.model = model;
      messages.push({ role: "user", content: QUESTION });
      const reply = await aiTurn(job, { messages, tools, stopWhen: stepCountIs(3) });
      messages.push(...reply.response.messages);
      for (const step of reply.steps) {
        const calls = step.toolCalls.map((call) => ({ id: call.toolCallId, name: call.toolName, arguments: call.input }));
        turns.push({ calls, text: step.text, finish: step.finishReason });
      }
    }
    return { turns };
  },
};

// ---- what they share
const CLIENTS = {
  openai, responses, anthropic, google,
  "ai-responses": ai, "ai-chat": ai, "ai-compatible": ai, "ai-anthropic": ai, "ai-google": ai,
};

function retries(job) {
  return job.retries === undefined ? {} : { maxRetries: job.retries };
}

// A question to each of the models, which may be one and the same: the calls, and what is said to their results.
async function converse(job, say) {
  const turns = [];
  for (const model of modelsOf(job)) {
    job.model = model;
    const called = await say(QUESTION, []);
    turns.push(called);
    if (called.calls.length) turns.push(await say(undefined, called.calls));
  }
  return { turns };
}

function modelsOf(job) {
  return job.models ?? [job.model, job.model];
}

function tell(job) {
  job.pieces = (job.pieces ?? 0) + 1;
}

function describeError(error) {
  const classes = [];
  for (let one = Object.getPrototypeOf(error); one && one !== Object.prototype; one = Object.getPrototypeOf(one)) {
    classes.push(one.constructor.name);
  }
  const status = error.status ?? error.statusCode ?? null;
  const retryAfter = error.headers?.get?.("retry-after") ?? null;
  return { classes, status, code: error.code ?? null, retry_after: retryAfter, message: String(error.message ?? error) };
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const job = JSON.parse(line);
  let outcome;
  try {
    outcome = await CLIENTS[job.client][job.do](job);
  } catch (error) {
    outcome = { error: describeError(error) };
  }
  process.stdout.write(`${JSON.stringify({ number: job.number, pieces: job.pieces ?? 0, ...outcome })}\n`);
});
