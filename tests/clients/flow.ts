// One flow of each surface, by the client that is generated from the OpenAPI document: node flow.js URL VIDEO.
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { TokenVerifier } from "livekit-server-sdk";
import { createClient, createConfig, type Client } from "./client/client";
import * as voxmill from "./client";

const [url = "", video = ""] = process.argv.slice(2);
const { VOXMILL_LIVEKIT_API_KEY: liveKitKey = "", VOXMILL_LIVEKIT_API_SECRET: liveKitSecret = "" } = process.env;
const password = "correct horse battery";
const person = () => ({ email: `${randomUUID()}@example.com`, password });
type Scheme = { scheme?: string; in?: string };
const known = (auth?: (scheme: Scheme) => string | undefined): Client =>
  createClient(createConfig({ baseUrl: url, throwOnError: true, auth }));
const nobody = (): Client => known();
const bearing = (token: string): Client => known(({ scheme }) => (scheme === "bearer" ? token : undefined));

/** A new user, logged in by token. */
async function logIn(): Promise<Client> {
  const stranger = nobody();
  const body = { ...person(), fullName: "Ada Łukasiewicz" };
  await voxmill.registerUser({ client: stranger, body, throwOnError: true });
  const { data } = await voxmill.loginUser({ client: stranger, body, throwOnError: true });
  return bearing(data.access_token);
}

async function cloneVideo(): Promise<void> {
  const client = await logIn();
  const file = new Blob([readFileSync(video)]);
  const uploaded = await voxmill.uploadFile({ client, body: { file }, throwOnError: true });
  assert.equal(uploaded.data.kind, "video");
  const body = { video_file_id: uploaded.data.file_id, audio_format: "wav" as const };
  const accepted = await voxmill.extractAudio({ client, body, throwOnError: true });
  let job: voxmill.Job;
  do {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const path = { job_id: accepted.data.job_id };
    job = (await voxmill.getJob({ client, path, throwOnError: true })).data;
  } while (job.status === "queued" || job.status === "processing");
  assert.equal(job.status, "completed");
  const audio = job.result?.files[0];
  assert.ok(audio && job.result_url);
  const downloaded = await (await fetch(job.result_url)).arrayBuffer();
  assert.equal(downloaded.byteLength, audio.size_bytes);
}

async function holdVoiceSession(): Promise<void> {
  const client = await logIn();
  const made = await voxmill.createProject({ client, body: { name: "Młyn" }, throwOnError: true });
  const project_id = made.data.id;
  const started = await voxmill.startVoiceSession({ client, body: { project_id }, throwOnError: true });
  assert.equal(started.data.status, "started");
  const body = { session_id: started.data.id };
  const finished = await voxmill.finishVoiceSession({ client, body, throwOnError: true });
  assert.equal(finished.data.status, "finished");
  const query = { project_id };
  const { data } = await voxmill.listVoiceSessions({ client, query, throwOnError: true });
  assert.deepEqual(data.map(({ id }) => id), [started.data.id]);
  const missing = await voxmill.getProject({ client, path: { project_id: 0 }, throwOnError: false });
  assert.equal(missing.error?.detail, "Not found.");
}

async function useBrowserSession(): Promise<void> {
  const body = { ...person(), display_name: "Ada" };
  const registered = await voxmill.registerWithSession({ client: nobody(), body, throwOnError: true });
  const cookie = /sessionid=([^;]+)/.exec(registered.response.headers.get("set-cookie") ?? "")?.[1];
  const browser = known((scheme) => (scheme.in === "cookie" ? cookie : undefined));
  const change = { display_name: "Ada L." };
  await voxmill.updateProfile({ client: browser, body: change, throwOnError: true });
  const preferences = {
    preferred_voice: "nova",
    preferred_language: "pl",
    favorite_topics: ["młyny"],
    system_prompt_override: "",
  };
  await voxmill.replacePreferences({ client: browser, body: preferences, throwOnError: true });
  const { data: profile } = await voxmill.getProfile({ client: browser, throwOnError: true });
  assert.equal(profile.display_name, "Ada L.");
  assert.deepEqual(profile.preferences, preferences);
  const { data: history } = await voxmill.listHistory({ client: browser, throwOnError: true });
  assert.deepEqual(history.results, []);
  const query = { room: "quickstart", identity: randomUUID(), name: "Ada" };
  const { data: ticket } = await voxmill.getLiveToken({ client: browser, query, throwOnError: true });
  const grants = await new TokenVerifier(liveKitKey, liveKitSecret).verify(ticket.token);
  assert.deepEqual([grants.sub, grants.name, grants.video], [query.identity, "Ada", { roomJoin: true, room: "quickstart" }]);
  await voxmill.logoutSession({ client: browser, throwOnError: true });
  const out = await voxmill.getSessionUser({ client: browser, throwOnError: false });
  assert.equal(out.response.status, 401);
}

async function meet(): Promise<void> {
  const [host, guest] = [await logIn(), await logIn()];
  const room = (await voxmill.createRoom({ client: host, body: { name: "Młyn" }, throwOnError: true })).data.data;
  const started = await voxmill.startSession({
    client: host,
    path: { room_id: room.id },
    body: {},
    throwOnError: true,
  });
  const path = { unique_code: room.uniqueCode };
  const found = await voxmill.findRoomByCode({ client: guest, path, throwOnError: true });
  const session_id = found.data.data.liveSession?.id ?? "";
  assert.equal(session_id, started.data.data.id);
  const session = { path: { session_id }, throwOnError: true as const };
  await voxmill.joinSession({ client: guest, body: {}, ...session });
  await voxmill.sendChatMessage({ client: guest, body: { message: "Dzień dobry" }, ...session });
  const chat = await voxmill.listChatMessages({ client: host, ...session });
  assert.deepEqual(chat.data.data.map(({ message }) => message), ["Dzień dobry"]);
  const ended = await voxmill.endSession({ client: host, ...session });
  assert.equal(ended.data.data.status, "ENDED");
}

async function launchCampaign(): Promise<void> {
  const stranger = nobody();
  const body = { ...person(), first_name: "Ada", last_name: "Lovelace" };
  await voxmill.signUp({ client: stranger, body, throwOnError: true });
  const signed = (await voxmill.signIn({ client: stranger, body, throwOnError: true })).data;
  const refresh = { refresh_token: signed.refresh_token };
  const renewed = await voxmill.refreshDayToken({ client: stranger, body: refresh, throwOnError: true });
  const client = bearing(renewed.data.token);
  const me = await voxmill.getSignedInUser({ client, throwOnError: true });
  assert.equal(me.data.email, body.email);
  const agent = {
    name: "Ada",
    llm_provider: "openai",
    llm_model: "gpt-4",
    stt_provider: "deepgram",
    tts_provider: "cartesia",
    system_prompt: "Be brief.",
    language: "en",
  };
  const agent_id = (await voxmill.createAgent({ client, body: agent, throwOnError: true })).data.id;
  const campaign = { name: "Spring", agent_id, phone_numbers: ["+15550100123"] };
  const made = await voxmill.createCampaign({ client, body: campaign, throwOnError: true });
  const path = { campaign_id: made.data.id };
  const launched = await voxmill.launchCampaign({ client, path, throwOnError: true });
  assert.equal(launched.data.status, "active");
  const active = await voxmill.listCampaigns({ client, query: { agent_id }, throwOnError: true });
  assert.deepEqual(active.data.items.map(({ id }) => id), [made.data.id]);
  const wrong = { email: body.email, password: "wrong" };
  const refused = await voxmill.signIn({ client: stranger, body: wrong, throwOnError: false });
  assert.ok(refused.error && "success" in refused.error && refused.error.error.code === "AUTH_001");
}

async function main(): Promise<void> {
  for (const flow of [cloneVideo, holdVoiceSession, useBrowserSession, meet, launchCampaign]) {
    await flow();
    console.log(`typescript: ${flow.name} went through`);
  }
}

void main();
