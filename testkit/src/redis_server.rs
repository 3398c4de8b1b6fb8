//! Real `redis-server` processes on free ports, started, killed and restarted by the tests themselves.
//! `SILVERTINE_REDIS_SERVER` names another binary than the one in `PATH`.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server of our own; gone with this value.
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    /// Starts a server that syncs every write.
    pub fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these arguments.
    pub fn start_with(args: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut server = Self { port: free_port(), folder, args, child: None };
        server.restart();
        server
    }

    /// The URL without a partition.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our child can be killed");
            child.wait().expect("a killed child ends");
        }
    }

    /// Stops the process where it stands; the system goes on accepting connections and bytes for it.
    pub fn freeze(&self) {
        self.signal("-STOP");
        let id = self.id();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = Command::new("ps").args(["-o", "state=", "-p", &id]).output();
            if state.expect("ps is there").stdout.starts_with(b"T") {
                return;
            }
            assert!(Instant::now() < deadline, "a stopped process stops");
            sleep(Duration::from_millis(1));
        }
    }

    /// Lets a stopped process go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id()]).status();
        assert!(sent.expect("kill is there").success());
    }

    fn id(&self) -> String {
        self.child.as_ref().expect("the server runs").id().to_string()
    }

    /// Starts again on the same port and files, and waits until it answers.
    pub fn restart(&mut self) {
        self.respawn(&[]);
        self.wait_until(Self::answers);
    }

    /// Starts again with these further arguments, and waits until it says that it is loading its data.
    pub fn restart_loading(&mut self, args: &[&str]) {
        self.respawn(args);
        self.wait_until(|server| server.send("PING").starts_with("-LOADING"));
    }

    fn respawn(&mut self, args: &[&str]) {
        self.kill9();
        let named = std::env::var_os("SILVERTINE_REDIS_SERVER");
        let spawned = Command::new(named.unwrap_or_else(|| "redis-server".into()))
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &self.folder.path().display().to_string()])
            .args(&self.args)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.expect("redis-server not found: ./test.sh installs it");
        self.child = Some(child);
    }

    fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(Instant::now() < deadline, "redis-server does not answer on {}", self.port);
            sleep(Duration::from_millis(5));
        }
    }

    /// Whether it is up and has loaded its data. A server that asks for a password is up too.
    fn answers(&self) -> bool {
        let reply = self.send("PING");
        reply.starts_with("+PONG") || reply.starts_with("-NOAUTH")
    }

    /// Sends one inline command and returns what comes back at once.
    pub fn send(&self, command: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return String::new();
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        let mut reply = [0; 65536];
        let sent = stream.write_all(format!("{command}\r\n").as_bytes());
        match sent.and_then(|()| stream.read(&mut reply)) {
            Ok(read) => String::from_utf8_lossy(&reply[..read]).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
