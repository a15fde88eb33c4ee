// Search where the pages are opened as files: browsers start no workers there, so that of the search runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      inside.answer = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.ready = () => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      };
      inside.document.open();
      inside.document.write(
        "<!doctype html><script>" +
          "postMessage = (data) => answer(data);" +
          "importScripts = (...urls) => urls.reduce((done, url) => done.then(() => new Promise((loaded, failed) => {" +
          "const script = document.createElement('script');" +
          "script.src = url; script.onload = loaded; script.onerror = failed;" +
          "document.body.appendChild(script); })), Promise.resolve());" +
          "<\/script><body><script src=\"" + url + "\" onload=\"ready()\"><\/script>"
      );
      inside.document.close();
    }

    postMessage(data) {
      if (this.waiting) {
        this.waiting.push(data);
      } else {
        const inside = this.frame.contentWindow;
        inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      }
    }

    terminate() {
      this.frame.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
