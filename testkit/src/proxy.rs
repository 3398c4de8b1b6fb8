//! A TCP proxy in front of a server that spoils one request, or the reply to it, when it is told to.
//!
//! It understands just enough of the Redis protocol to know where a request or a reply ends, which command
//! a request is and which reply answers it, so a fault meets a stated request and not whatever the
//! network happened to deliver at once.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What becomes of a request or of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The request arrives later.
    Delay(Duration),
    /// The connection is cut before any of the request reaches the server.
    CutBefore,
    /// The connection is cut when half of the request has reached the server.
    CutInside,
    /// The connection is cut after the server has executed the request, before any of the reply is
    /// forwarded.
    CutAfter,
    /// The connection is cut when half of the reply has been forwarded.
    CutInsideReply,
    /// Half-open: the request and everything after it is swallowed silently, in both directions.
    SwallowRequest,
    /// Half-open: the request arrives; its reply and everything after it is swallowed silently.
    SwallowReply,
    /// Half-open for the client, while the request is kept until [`Proxy::deliver_held`] delivers it.
    Hold,
}

/// Which request is meant.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// How its command begins; an empty text means any command.
    pub command: &'static str,
    /// So many such requests pass before, counted from now.
    pub skip: u32,
}

impl Aim {
    /// The next script: a commit, an acquisition or a trim.
    pub const NEXT_SCRIPT: Self = Self { command: "EVAL", skip: 0 };

    /// The next request of this command.
    pub const fn next(command: &'static str) -> Self {
        Self { command, skip: 0 }
    }
}

/// A proxy on a port of its own; gone with this value.
pub struct Proxy {
    inner: Arc<Inner>,
    acceptor: Option<JoinHandle<()>>,
}

struct Inner {
    port: u16,
    closing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    upstream: u16,
    armed: Option<(Aim, Strike)>,
    struck: u64,
    /// Requests that were forwarded whole, by command.
    forwarded: BTreeMap<String, u64>,
    connections: Vec<Weak<Connection>>,
    held: Option<Held>,
}

/// A request that has not been delivered.
struct Held {
    connection: Arc<Connection>,
    request: Vec<u8>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Nothing passes any more, and nobody is told.
    silent: AtomicBool,
    /// What is to become of the replies that are still to come, one for each request on its way.
    awaited: Mutex<VecDeque<Option<Strike>>>,
    /// What the server said since this connection is silent.
    swallowed: Mutex<Vec<u8>>,
}

impl Proxy {
    /// Listens, and forwards to the server on port `upstream`.
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = Mutex::new(State { upstream, ..State::default() });
        let inner = Arc::new(Inner { port, closing: AtomicBool::new(false), state });
        let accepting = Arc::clone(&inner);
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.closing.load(Ordering::Acquire) {
                    return;
                }
                // A client that is gone already, or a server that is not there: closing says so.
                if let Ok(client) = client {
                    accepting.connect(client);
                }
            }
        });
        Self { inner, acceptor: Some(acceptor) }
    }

    /// The URL of the server as seen through this proxy, without a partition.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.inner.port)
    }

    /// Spoils one request.
    pub fn strike(&self, aim: Aim, strike: Strike) {
        self.inner.lock().armed = Some((aim, strike));
    }

    /// How many requests or replies have been spoilt.
    pub fn struck(&self) -> u64 {
        self.inner.lock().struck
    }

    /// How many requests of this command were forwarded whole.
    pub fn forwarded(&self, command: &str) -> u64 {
        self.inner.lock().forwarded.get(command).copied().unwrap_or(0)
    }

    /// How many requests of any command were forwarded whole.
    pub fn forwarded_in_all(&self) -> u64 {
        self.inner.lock().forwarded.values().sum()
    }

    /// Forwards new connections to another server; the present ones stay where they are.
    pub fn redirect_to(&self, upstream: u16) {
        self.inner.lock().upstream = upstream;
    }

    /// Forwards new connections to another server and cuts the present ones, as a failover does.
    pub fn fail_over_to(&self, upstream: u16) {
        self.redirect_to(upstream);
        let connections = std::mem::take(&mut self.inner.lock().connections);
        connections.iter().filter_map(Weak::upgrade).for_each(|connection| connection.cut());
    }

    /// Delivers the request that was held and returns what the server answers.
    pub fn deliver_held(&self) -> String {
        let held = self.inner.lock().held.take().expect("a request is held");
        let connection = held.connection;
        connection.to_server(&held.request);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let swallowed = connection.swallowed();
            if !swallowed.is_empty() {
                let answer = String::from_utf8_lossy(&swallowed).into_owned();
                drop(swallowed);
                connection.cut();
                return answer;
            }
            drop(swallowed);
            assert!(Instant::now() < deadline, "the server does not answer a late request");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.closing.store(true, Ordering::Release);
        self.fail_over_to(0);
        // Wakes the acceptor; it may have ended already.
        drop(TcpStream::connect(("127.0.0.1", self.inner.port)));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        let upstream = self.lock().upstream;
        let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a socket takes options");
        }
        let connection = Connection {
            client,
            server,
            silent: AtomicBool::new(false),
            awaited: Mutex::default(),
            swallowed: Mutex::default(),
        };
        let connection = Arc::new(connection);
        {
            let mut state = self.lock();
            state.connections.retain(|known| known.strong_count() > 0);
            state.connections.push(Arc::downgrade(&connection));
        }
        let (inner, forth) = (Arc::clone(self), Arc::clone(&connection));
        thread::spawn(move || inner.pump_requests(&forth));
        let inner = Arc::clone(self);
        thread::spawn(move || inner.pump_replies(&connection));
    }

    /// Forwards whole requests until the client closes, then closes towards the server too, unless the
    /// server is still to be handed the request that is held.
    fn pump_requests(&self, connection: &Arc<Connection>) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 65536];
        loop {
            match (&connection.client).read(&mut chunk) {
                Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
                _ => break,
            }
            while let Some(length) = request_len(&buffer) {
                let request: Vec<u8> = buffer.drain(..length).collect();
                self.forward(connection, request);
            }
        }
        let is_this = |held: &Held| Arc::ptr_eq(&held.connection, connection);
        let held = self.lock().held.as_ref().is_some_and(is_this);
        if !held {
            connection.cut();
        }
    }

    fn forward(&self, connection: &Arc<Connection>, request: Vec<u8>) {
        if connection.silent.load(Ordering::Acquire) {
            return;
        }
        let command = command_of(&request);
        let strike = self.meet(&command);
        match strike {
            None => {}
            Some(Strike::Delay(delay)) => {
                thread::sleep(delay);
                self.count();
            }
            Some(Strike::CutBefore) => {
                self.count();
                return connection.cut();
            }
            Some(Strike::CutInside) => {
                connection.to_server(&request[..request.len() / 2]);
                self.count();
                return connection.cut();
            }
            // These meet the reply.
            Some(Strike::CutAfter | Strike::CutInsideReply | Strike::SwallowReply) => {}
            Some(Strike::SwallowRequest) => {
                connection.silent.store(true, Ordering::Release);
                return self.count();
            }
            Some(Strike::Hold) => {
                connection.silent.store(true, Ordering::Release);
                let connection = Arc::clone(connection);
                self.lock().held = Some(Held { connection, request });
                return self.count();
            }
        }
        connection.awaited().push_back(strike);
        connection.to_server(&request);
        *self.lock().forwarded.entry(command).or_default() += 1;
    }

    /// What is to become of a request of this command.
    fn meet(&self, command: &str) -> Option<Strike> {
        let mut state = self.lock();
        let (aim, strike) = state.armed.as_mut()?;
        if !command.starts_with(aim.command) {
            return None;
        }
        if aim.skip > 0 {
            aim.skip -= 1;
            return None;
        }
        let strike = *strike;
        state.armed = None;
        Some(strike)
    }

    fn count(&self) {
        self.lock().struck += 1;
    }

    /// Forwards whole replies until the server closes.
    fn pump_replies(&self, connection: &Connection) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 65536];
        while let Ok(read @ 1..) = (&connection.server).read(&mut chunk) {
            buffer.extend_from_slice(&chunk[..read]);
            while let Some(length) = reply_end(&buffer, 0) {
                let reply: Vec<u8> = buffer.drain(..length).collect();
                self.reply(connection, &reply);
            }
        }
        // Silence also hides that the server has closed.
        if !connection.silent.load(Ordering::Acquire) {
            connection.cut();
        }
    }

    fn reply(&self, connection: &Connection, reply: &[u8]) {
        match connection.awaited().pop_front().flatten() {
            Some(Strike::CutAfter) => {
                self.count();
                return connection.cut();
            }
            Some(Strike::CutInsideReply) => {
                connection.to_client(&reply[..reply.len() / 2]);
                self.count();
                return connection.cut();
            }
            Some(Strike::SwallowReply) => {
                connection.silent.store(true, Ordering::Release);
                self.count();
            }
            _ => {}
        }
        if connection.silent.load(Ordering::Acquire) {
            connection.swallowed().extend_from_slice(reply);
        } else {
            connection.to_client(reply);
        }
    }
}

impl Connection {
    fn awaited(&self) -> MutexGuard<'_, VecDeque<Option<Strike>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swallowed(&self) -> MutexGuard<'_, Vec<u8>> {
        self.swallowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A side that has closed shows when it is read from; writing to it may fail silently.
    fn to_server(&self, bytes: &[u8]) {
        let _closed = (&self.server).write_all(bytes);
    }

    fn to_client(&self, bytes: &[u8]) {
        let _closed = (&self.client).write_all(bytes);
    }

    /// Closes both sides; one that is closed already stays so.
    fn cut(&self) {
        for stream in [&self.client, &self.server] {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The length of the first request, or `None` while it is not whole. Clients send arrays of bulk
/// strings; anything else passes as it comes.
fn request_len(bytes: &[u8]) -> Option<usize> {
    let (&first, _) = bytes.split_first()?;
    if first != b'*' {
        return Some(bytes.len());
    }
    let (mut at, count) = header(bytes, 0)?;
    for _ in 0..count {
        let (start, length) = header(bytes, at)?;
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// The number in the line that begins at `at`, behind its first character, and where the next line begins.
fn header(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = bytes.get(at + 1..)?;
    let end = line.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((at + 1 + end + 2, number))
}

/// Where the reply that begins at `at` ends, or `None` while it is not whole.
fn reply_end(bytes: &[u8], at: usize) -> Option<usize> {
    let line = bytes.get(at..)?;
    let line_end = at + line.windows(2).position(|pair| pair == b"\r\n")? + 2;
    // Minus one stands for nothing at all.
    let number = || header(bytes, at).map_or(0, |(_, number)| number);
    let end = match bytes[at] {
        b'$' if line.starts_with(b"$-") => line_end,
        b'$' | b'=' | b'!' => line_end + number() + 2,
        b'*' | b'~' | b'>' | b'%' => {
            let parts = if bytes[at] == b'%' { 2 * number() } else { number() };
            (0..parts).try_fold(line_end, |at, _| reply_end(bytes, at))?
        }
        _ => line_end,
    };
    (end <= bytes.len()).then_some(end)
}

/// The command of a whole request, in capitals.
fn command_of(request: &[u8]) -> String {
    let word = header(request, 0)
        .and_then(|(at, _)| header(request, at))
        .and_then(|(start, length)| request.get(start..start + length));
    String::from_utf8_lossy(word.unwrap_or_default()).to_ascii_uppercase()
}
