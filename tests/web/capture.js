// Keeps what passes, as 16 bit samples.
registerProcessor(
  "ear",
  class extends AudioWorkletProcessor {
    process([input]) {
      const samples = input?.[0];
      if (samples) {
        this.port.postMessage(Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767));
      }
      return true;
    }
  },
);
