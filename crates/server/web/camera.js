// What the camera sees, captioned at an interval.

const element = (id) => document.getElementById(id);

/** Wires the camera; `caption` captions a blob until a signal ends it, `keep` puts a file into the gallery. */
export function camera({ caption, keep }) {
  const video = element("camera-picture");
  const words = element("camera-caption");
  const keeper = element("camera-keep");
  /** Ends what is open, or about to be. */
  let session;

  async function open() {
    if (session) return;
    element("camera").hidden = false;
    if (!navigator.mediaDevices) {
      say("A camera needs HTTPS or localhost.");
      return;
    }
    say("");
    session = new AbortController();
    const { signal } = session;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      const stop = () => stream.getTracks().forEach((track) => track.stop());
      if (signal.aborted) {
        stop(); // It was closed while the browser asked for permission.
        return;
      }
      signal.addEventListener("abort", stop);
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
    } catch (error) {
      if (signal.aborted) return;
      end();
      say(`The camera cannot be used: ${error.message}`);
      return;
    }
    if (signal.aborted) return;
    keeper.disabled = false;
    keeper.focus();
    live(signal);
  }

  function end() {
    session?.abort();
    session = undefined;
    video.srcObject = null;
    video.hidden = true;
    keeper.disabled = true;
  }

  /** Text that stays the same is not spoken again. */
  function say(text) {
    if (words.textContent !== text) words.textContent = text;
  }

  function picture() {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  }

  // The next picture is taken when the last one is captioned, and the interval is over: no sentence overtakes another.
  async function live(signal) {
    while (!signal.aborted) {
      const interval = Number(element("camera-interval").value);
      if (interval > 0) {
        let sentence;
        try {
          sentence = (await caption(await picture(), signal)).caption;
        } catch (error) {
          sentence = error.retryAfter ? "The server is busy." : error.message;
        }
        if (signal.aborted) return;
        say(sentence);
      }
      await new Promise((resolve) => setTimeout(resolve, interval || 1000));
    }
  }

  element("camera-open").addEventListener("click", open);
  element("camera-close").addEventListener("click", () => {
    end();
    element("camera").hidden = true;
    element("camera-open").focus();
  });
  keeper.addEventListener("click", async () => {
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    keep(new File([await picture()], `camera-${time}.jpg`, { type: "image/jpeg" }));
  });
}
