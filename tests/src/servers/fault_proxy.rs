//! A way to a server that breaks as a test wishes, while it runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens, and whoever is connected is not any more.
    Refuse,
    /// What is sent is taken, and nothing ever comes back.
    BlackHole,
    /// The connection ends when so many more bytes have passed this way.
    CutAfter(u64, Way),
    /// The connection is reset as soon as the client sends something.
    Reset,
    /// An HTTP server that can take no more answers in the server's place.
    Unavailable,
    /// Every piece waits so long, either way.
    Delay(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// Between clients and a server; it dies with this process. It passes all that comes until told otherwise.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Wakes what waits for another state.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// How often the fault may strike yet; none is always.
    left: Option<u32>,
    struck: u32,
    /// Counts the faults that were set, so that a connection counts its bytes from there.
    era: u64,
}

impl FaultProxy {
    /// To the port of this machine.
    pub fn start(port: u16) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (changes, changed) = watch::channel(0);
        let (started, address) = mpsc::channel();
        let shared = Shared { state: state.clone(), changed, server: ([127, 0, 0, 1], port).into() };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(shared, &started));
        });
        Self { address: address.recv().unwrap(), state, changes }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn pass(&self) {
        self.set(None, None);
    }

    /// Until the next call.
    pub fn fail(&self, fault: Fault) {
        self.set(Some(fault), None);
    }

    /// So many times, and then all passes. For faults that strike: neither refusals, nor black holes, nor delays do.
    pub fn fail_times(&self, times: u32, fault: Fault) {
        self.set(Some(fault), Some(times));
    }

    /// How often the fault that was set last has struck.
    pub fn struck(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).struck
    }

    fn set(&self, fault: Option<Fault>, left: Option<u32>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let era = state.era + 1;
        *state = State { fault, left, struck: 0, era };
        self.changes.send_replace(era);
    }
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
    server: SocketAddr,
}

impl Shared {
    fn fault(&self) -> (Option<Fault>, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.fault, state.era)
    }

    /// Whether it does: another connection may have taken its last turn.
    fn strike(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.fault.is_none() {
            return false;
        }
        state.struck += 1;
        state.left = state.left.map(|left| left.saturating_sub(1));
        if state.left == Some(0) {
            state.fault = None;
        }
        true
    }
}

async fn accept(mut shared: Shared, started: &mpsc::Sender<SocketAddr>) {
    let mut listener = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.as_ref().unwrap().local_addr().unwrap();
    started.send(address).unwrap();
    loop {
        if shared.fault().0 == Some(Fault::Refuse) {
            drop(listener.take());
            if shared.changed.changed().await.is_err() {
                return;
            }
            continue;
        }
        let accepting = listener.get_or_insert_with(|| listen(address));
        tokio::select! {
            accepted = accepting.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(connect(shared.clone(), client));
                }
            }
            changed = shared.changed.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn connect(shared: Shared, client: TcpStream) {
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut up = Pump { shared: shared.clone(), way: Way::ToServer, passed: 0, era: 0 };
    let mut down = Pump { shared, way: Way::ToClient, passed: 0, era: 0 };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // Either way may end both.
    let end = tokio::select! {
        end = up.run(&mut from_client, &mut to_server) => end,
        end = down.run(&mut from_server, &mut to_client) => end,
    };
    match end {
        End::Closed => {}
        End::Answered => {
            let _ = to_client.write_all(UNAVAILABLE.as_bytes()).await;
            let _ = to_client.shutdown().await;
        }
        End::Reset => {
            let _ = from_client.as_ref().set_zero_linger();
        }
    }
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\n\
    Content-Length: 86\r\nConnection: close\r\n\r\n\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>";

enum End {
    Closed,
    Answered,
    Reset,
}

/// One way of a connection.
struct Pump {
    shared: Shared,
    way: Way,
    /// Bytes of this era.
    passed: u64,
    era: u64,
}

impl Pump {
    /// Until the connection is to end.
    async fn run(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> End {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => count,
                    Ok(_) | Err(_) => return End::Closed,
                },
                _ = self.shared.changed.changed() => {
                    if self.shared.fault().0 == Some(Fault::Refuse) {
                        return End::Reset;
                    }
                    continue;
                }
            };
            if let Some(end) = self.pass(&buffer[..count], to).await {
                return end;
            }
        }
    }

    async fn pass(&mut self, piece: &[u8], to: &mut OwnedWriteHalf) -> Option<End> {
        let (fault, era) = self.shared.fault();
        if era != self.era {
            (self.era, self.passed) = (era, 0);
        }
        let before = self.passed;
        self.passed += piece.len() as u64;
        match fault {
            None => {}
            Some(Fault::Refuse) => return Some(End::Reset),
            Some(Fault::BlackHole) => {
                // What was swallowed never comes, so the connection cannot go on afterwards.
                let _ = self.shared.changed.wait_for(|now| *now != era).await;
                return Some(End::Closed);
            }
            Some(Fault::CutAfter(bytes, way))
                if way == self.way && self.passed > bytes && self.shared.strike() =>
            {
                let rest = usize::try_from(bytes.saturating_sub(before)).unwrap_or(usize::MAX);
                let _ = to.write_all(&piece[..rest.min(piece.len())]).await;
                return Some(End::Closed);
            }
            Some(Fault::CutAfter(..)) => {}
            Some(Fault::Reset) if self.way == Way::ToServer && self.shared.strike() => {
                return Some(End::Reset);
            }
            Some(Fault::Unavailable) if self.way == Way::ToServer && self.shared.strike() => {
                return Some(End::Answered);
            }
            Some(Fault::Reset | Fault::Unavailable) => {}
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        }
        to.write_all(piece).await.is_err().then_some(End::Closed)
    }
}
