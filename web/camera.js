// What the camera sees, captioned at an interval.

const element = (id) => document.getElementById(id);

/** Wires the camera; `caption` captions a blob, `keep` puts one into the gallery. */
export function camera({ caption, keep }) {
  const video = element("camera-picture");
  const words = element("camera-caption");
  let stream;
  let timer;

  async function open() {
    element("camera").hidden = false;
    words.textContent = "";
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      words.textContent = `The camera cannot be used: ${error.message}.`;
      return;
    }
    video.srcObject = stream;
    await video.play();
    element("camera-keep").focus();
    schedule(0);
  }

  function close() {
    clearTimeout(timer);
    stream?.getTracks().forEach((track) => track.stop());
    stream = undefined;
    video.srcObject = null;
    element("camera").hidden = true;
    element("camera-open").focus();
  }

  function picture() {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  }

  // The next picture is taken when the last one is captioned, and the interval is over.
  function schedule(wait) {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const interval = Number(element("camera-interval").value);
      if (stream && interval > 0) {
        try {
          const { caption: sentence } = await caption(await picture());
          if (stream && words.textContent !== sentence) words.textContent = sentence;
        } catch (error) {
          words.textContent = error.message;
        }
      }
      if (stream) schedule(interval || 1000);
    }, wait);
  }

  element("camera-open").addEventListener("click", open);
  element("camera-close").addEventListener("click", close);
  element("camera-keep").addEventListener("click", async () => {
    if (!stream) return;
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    keep(new File([await picture()], `camera-${time}.jpg`, { type: "image/jpeg" }));
  });
}
