//! A headless Chromium with one page, spoken to in its own debugging protocol (<https://chromedevtools.github.io/devtools-protocol/>).
//!
//! Everything that the page asks for, and everything that it complains about, is kept.

use std::{collections::VecDeque, path::PathBuf, process::Stdio, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How long the browser may take for one answer, and the page for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the page.
const AGAIN: Duration = Duration::from_millis(50);

/// Without these Chromium looks for updates and the like; without a sandbox, because root has none.
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
    "--window-size=1400,900",
];

/// A page in a browser of its own. The browser ends when it is dropped.
pub struct Page {
    _process: Child,
    /// Held, or the browser would stop at its next line.
    _said: BufReader<ChildStderr>,
    _profile: TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    commands: u64,
    /// Every address that was asked for.
    pub asked: Vec<String>,
    /// Errors and warnings: of the console, of scripts, of the content security policy.
    pub complaints: Vec<String>,
    events: VecDeque<Value>,
}

/// Where Chromium is, if it is anywhere.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("BELAY_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = std::env::split_paths(&path).flat_map(|directory| {
        ["chromium", "chromium-browser", "google-chrome"].map(|name| directory.join(name))
    });
    named.into_iter().chain(known).find(|file| file.is_file())
}

impl Page {
    /// An empty page.
    pub async fn new() -> Self {
        let program = chromium()
            .expect("Chromium is needed: apt-get install chromium, or set BELAY_CHROMIUM to its program");
        let profile = TempDir::new().unwrap();
        let mut process = Command::new(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let address = timeout(PATIENCE, async {
            let mut line = String::new();
            loop {
                line.clear();
                assert_ne!(said.read_line(&mut line).await.unwrap(), 0, "Chromium ended");
                if let Some(address) = line.trim().strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
            }
        })
        .await
        .expect("Chromium starts in time");
        let (socket, _) = connect_async(address).await.unwrap();
        let mut page = Self {
            _process: process,
            _said: said,
            _profile: profile,
            socket,
            session: String::new(),
            commands: 0,
            asked: Vec::new(),
            complaints: Vec::new(),
            events: VecDeque::new(),
        };
        let target = page
            .command("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.command("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.command(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }

    /// Opens `url` and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        self.events.clear();
        let opened = self.command("Page.navigate", json!({ "url": url })).await;
        assert!(opened["errorText"].is_null(), "{opened}");
        timeout(PATIENCE, async {
            while !self
                .events
                .iter()
                .any(|event| event["method"] == "Page.loadEventFired")
            {
                self.hear().await;
            }
        })
        .await
        .expect("the page loads in time");
    }

    /// The value of a JavaScript expression.
    pub async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.command("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until the text that `expression` gives contains `words`, and gives it.
    pub async fn sees(&mut self, expression: &str, words: &str) -> String {
        let mut last = Value::Null;
        for _ in 0..PATIENCE.as_millis() / AGAIN.as_millis() {
            // What is not there yet is not seen yet.
            last = self
                .value(&format!(
                    "(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()"
                ))
                .await;
            if let Some(text) = last.as_str()
                && text.contains(words)
            {
                return text.to_owned();
            }
            // The page's own time goes on meanwhile; there is nothing to be told by.
            self.value(&format!(
                "new Promise((done) => setTimeout(done, {}))",
                AGAIN.as_millis()
            ))
            .await;
        }
        let picture = self.picture("unseen").await;
        panic!(
            "see {picture:?}: never saw {words:?} in {expression}: {last}; complaints: {:?}",
            self.complaints
        );
    }

    /// Clicks, as a hand would, in the middle of the element that `expression` gives.
    pub async fn click(&mut self, expression: &str) {
        self.sees(&format!("String(Boolean({expression}))"), "true").await;
        let place = self
            .value(&format!(
                "(() => {{ const element = {expression}; element.scrollIntoView({{ block: 'nearest' }});
                    const box = element.getBoundingClientRect();
                    return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into whatever has the focus.
    pub async fn types(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text })).await;
    }

    /// Keeps a picture of the page among the build's temporary files, for people.
    pub async fn picture(&mut self, name: &str) -> PathBuf {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let taken = self
            .command("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let bytes = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        std::fs::write(&file, bytes).unwrap();
        file
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        self.socket
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        timeout(PATIENCE, async {
            loop {
                if let Some(answer) = self.hear().await
                    && answer["id"] == id
                {
                    assert!(answer["error"].is_null(), "{method}: {answer}");
                    return answer["result"].clone();
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("Chromium answers {method} in time"))
    }

    /// Takes one message: gives an answer, keeps what an event tells.
    async fn hear(&mut self) -> Option<Value> {
        let message = self.socket.next().await.expect("Chromium is there").unwrap();
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        if message.get("id").is_some() {
            return Some(message);
        }
        let told = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => self.asked.push(text(&told["request"]["url"])),
            "Network.webSocketCreated" => self.asked.push(text(&told["url"])),
            "Runtime.exceptionThrown" => self.complaints.push(told["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled"
                if ["error", "warning", "assert"]
                    .iter()
                    .any(|kind| told["type"] == *kind) =>
            {
                self.complaints.push(told["args"].to_string());
            }
            "Log.entryAdded"
                if ["error", "warning"]
                    .iter()
                    .any(|level| told["entry"]["level"] == *level) =>
            {
                self.complaints.push(told["entry"].to_string());
            }
            _ => {}
        }
        self.events.push_back(message);
        None
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
