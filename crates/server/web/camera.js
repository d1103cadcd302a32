// Captions the camera's picture at an interval.

const element = (id) => document.getElementById(id);

/** Sets up the camera. `caption` captions a blob unless a signal aborts it; `keep` puts a file into the gallery. */
export function camera({ caption, keep }) {
  const video = element("camera-picture");
  const words = element("camera-caption");
  const keeper = element("camera-keep");
  /** Stops the camera, even if it is just being opened. */
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

  /** Sets the text only if it changes, so that screen readers do not announce it again. */
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

  // The next picture is taken when the last one is captioned and the interval is over, so that captions stay in order.
  async function live(signal) {
    while (!signal.aborted) {
      const interval = Number(element("camera-interval").value);
      if (interval > 0) {
        let sentence;
        try {
          const record = await caption(await picture(), signal);
          sentence = record.sure === false ? `Not sure: ${record.caption}` : record.caption;
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
