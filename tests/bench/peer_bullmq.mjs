// BullMQ in two processes' worth of consumers: peer_bullmq.mjs REDIS_URL JOBS SINGLE CONSUMERS. Prints the same line as ours.

import { Queue, Worker } from "bullmq";

const [url, jobs, single, consumers] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const waiting = [];
const started = [];
const note = (time) => (waiting.length ? waiting.shift()(time) : started.push(time));
const taken = () => (started.length ? started.shift() : new Promise((resolve) => waiting.push(resolve)));

const queue = new Queue("bench", { connection });
await queue.obliterate({ force: true });
const worker = new Worker("bench", async () => note(performance.now()), { connection, concurrency: Number(consumers) });
await worker.waitUntilReady();
await queue.add("work", {});
await taken();

const waits = [];
for (let index = 0; index < Number(single); index++) {
  const begun = performance.now();
  await queue.add("work", {});
  waits.push((await taken()) - begun);
}
waits.sort((one, other) => one - other);

const begun = performance.now();
const adding = (async () => {
  for (let index = 0; index < Number(jobs); index += 16) {
    await Promise.all(Array.from({ length: Math.min(16, jobs - index) }, () => queue.add("work", {})));
  }
})();
for (let index = 0; index < Number(jobs); index++) await taken();
const seconds = (performance.now() - begun) / 1000;
await adding;
console.log(JSON.stringify({
  jobs_per_second: Number(jobs) / seconds,
  start_p50_ms: waits[Math.floor(waits.length / 2)],
  start_p99_ms: waits[Math.floor((waits.length * 99) / 100)],
}));
process.exit(0);
