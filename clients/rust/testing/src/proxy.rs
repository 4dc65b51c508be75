//! A way to a server that is cut where a test wants it cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on to a server, cuts each of the first ones after a number of bytes from the server, and swallows
/// what is said on others.
///
/// It lives until the test's process ends.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    connections: Arc<AtomicUsize>,
    silent: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Starts a proxy to a server; the connection `i` is cut after `cut_after[i]` bytes, later ones never.
    ///
    /// # Panics
    ///
    /// When there is no port to listen on.
    #[must_use]
    pub fn start(server: &str, cut_after: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
        let address = listener.local_addr().expect("the address of a listener").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let silent = Arc::new(AtomicUsize::new(0));
        let (server, cut_after) = (server.to_owned(), cut_after.to_vec());
        let open = Arc::new(Mutex::new(Vec::new()));
        let (count, swallow, all) = (Arc::clone(&connections), Arc::clone(&silent), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let limit = cut_after.get(number).copied().unwrap_or(usize::MAX);
                let Ok(server) = TcpStream::connect(&server) else { continue };
                if let (Ok(client_out), Ok(server_out), Ok(known)) =
                    (client.try_clone(), server.try_clone(), client.try_clone())
                {
                    all.lock().expect("no thread panics").push(known);
                    let is_silent = {
                        let swallow = Arc::clone(&swallow);
                        move || number < swallow.load(Ordering::SeqCst)
                    };
                    let is_silent_too = is_silent.clone();
                    thread::spawn(move || pass(client, server_out, usize::MAX, &is_silent));
                    thread::spawn(move || pass(server, client_out, limit, &is_silent_too));
                }
            }
        });
        Self { address, connections, silent, open }
    }

    /// Where it listens, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Swallows from now on what is said on the connections that there are, and leaves them open.
    pub fn go_silent(&self) {
        self.silent.store(self.connections(), Ordering::SeqCst);
    }

    /// Cuts the connections that there are.
    ///
    /// # Panics
    ///
    /// When a thread of the proxy has panicked.
    pub fn cut(&self) {
        for connection in self.open.lock().expect("no thread panics").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: usize, is_silent: &impl Fn() -> bool) {
    let mut left = limit;
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        if is_silent() {
            continue;
        }
        let count = count.min(left);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
