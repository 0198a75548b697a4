// The search of pages that are opened from the disk: browsers start no workers there, so the
// worker's script runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = this.inside.document.createElement("script")
      script.src = url
      this.started = new Promise((done) => script.addEventListener("load", done))
      this.inside.document.body.append(script)
    }

    postMessage(data) {
      const message = new MessageEvent("message", { data })
      this.started.then(() => this.inside.dispatchEvent(message))
    }
  }
}
