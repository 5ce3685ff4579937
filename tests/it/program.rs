//! Runs the real `trice` program for the tests of the command line and the server.

use crate::common;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// Long enough for the slowest driver; only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// The program, with nothing of the caller's settings.
pub(crate) fn trice(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trice"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("TRICE_API_KEY");
    command
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    trice(args).output().unwrap()
}

/// Runs the program with something on stdin.
pub(crate) fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut child = trice(args).stdin(Stdio::piped()).spawn().unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What the program itself said last on stderr; drivers talk before it.
pub(crate) fn last_error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().last().unwrap_or_default().to_string()
}

/// Stdout of a run that must succeed, as JSON.
pub(crate) fn json(args: &[&str]) -> serde_json::Value {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", stdout(&output)))
}

/// Whether there is a GPU to test on; `REQUIRE_GPU` makes it a failure that there is none.
pub(crate) fn has_gpu() -> bool {
    let found = !pollster::block_on(trice::gpu::Gpu::adapters()).is_empty();
    if !found {
        assert!(std::env::var_os("REQUIRE_GPU").is_none(), "no GPU adapter");
        println!("skipped: no GPU adapter");
    }
    found
}

/// A model of the shared folder, as an argument, when there is a GPU to run it.
pub(crate) fn shared_model(path: &str) -> Option<String> {
    let path = common::shared(path)?;
    has_gpu().then(|| path.display().to_string())
}

/// A running `trice serve` on a port of its own, ended when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Server {
    /// Starts a server and waits until it listens; models may still be loading.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = trice(&[&["serve", "--port", "0"], args].concat()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, stdout, stderr, address: String::new() };
        server.address = server.wait_for_line("listening on http://");
        server
    }

    /// Waits until the models are loaded.
    pub(crate) fn ready(mut self) -> Self {
        self.wait_for_line("ready: ");
        self
    }

    /// The rest of the next line of stdout that begins so.
    fn wait_for_line(&mut self, start: &str) -> String {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return rest.to_string();
            }
            line.clear();
        }
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        panic!("the server ended before it said {start:?}:\n{log}");
    }

    /// The next line of the log that holds `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.stderr.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("the log ended without {text:?}");
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end: the exit code and the rest of the log. A server that does not end fails the test, not the run.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let start = std::time::Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < HANG, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) fn send(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // The server may refuse and close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        Reply::parse(&reply)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_with(path, "", body)
    }

    /// `headers`: further lines, each with its line end.
    pub(crate) fn post_with(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send(&post(path, headers, body.as_ref()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A POST of JSON as bytes.
pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// A parsed answer; status 0 when the server closed without one.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Lower-case lines.
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(split) = split else { return Self { status: 0, headers: Vec::new(), body: bytes.to_vec() } };
        let head = String::from_utf8_lossy(&bytes[..split]).to_ascii_lowercase();
        let mut lines = head.lines().map(str::to_string);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<String> = lines.collect();
        let body = &bytes[split + 4..];
        let is_chunked = headers.iter().any(|line| line == "transfer-encoding: chunked");
        Self { status, body: if is_chunked { unchunk(body) } else { body.to_vec() }, headers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The data of every server-sent event.
    pub(crate) fn events(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_string).collect()
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        let start = end + 2;
        if length == 0 || start + length > body.len() {
            break;
        }
        out.extend(&body[start..start + length]);
        body = &body[(start + length + 2).min(body.len())..];
    }
    out
}

/// A folder for one test, gone afterwards.
pub(crate) fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path: PathBuf = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}
