//! A proxy in front of a server, which can cut connections and refuse new ones.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A port on which nobody listens.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A running proxy, which ends on drop.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    has_ended: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Starts a proxy for a server on this port.
    pub(super) fn start(port: u16, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let accepting = thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = shared.lock().unwrap();
                if state.has_ended {
                    return;
                }
                // Dropped at once, a connection is as good as refused.
                if !state.is_cut {
                    state.open.extend(forward(client, target));
                }
            }
        });
        Self {
            port,
            state,
            accepting: Some(accepting),
        }
    }

    /// Cuts all connections, and refuses new ones.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        for stream in state.open.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub(super) fn restore(&self) {
        self.state.lock().unwrap().is_cut = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.state.lock().unwrap().has_ended = true;
        // The last connection wakes the thread.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

/// Connects a client to a server. Returns both ends, by which the connection can be cut.
fn forward(client: TcpStream, target: SocketAddr) -> Vec<TcpStream> {
    let server = TcpStream::connect(target).unwrap();
    let ends = vec![client.try_clone().unwrap(), server.try_clone().unwrap()];
    for (from, to) in [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ] {
        thread::spawn(move || copy(from, to));
    }
    ends
}

/// Copies until one end closes or the connection is cut.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
