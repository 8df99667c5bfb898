// Copyright 2026 the Sabre authors. MIT license.

// The other thread of a measurement: it does the jobs that a module exports, one after the other.
// Orders come through a port, so that the messages of the worker itself are free for the jobs.

/// <reference lib="deno.worker" />

self.onmessage = async ({ data: { module, port } }: MessageEvent) => {
  self.onmessage = null;
  const jobs = await import(module);
  port.onmessage = async ({ data: { job, input } }: MessageEvent) => {
    try {
      port.postMessage({ value: await jobs[job](input) });
    } catch (error) {
      port.postMessage({ error: String(error) });
    }
  };
  port.postMessage({ value: undefined });
};
self.postMessage("ready");
