//! A TCP proxy that can fall silent, as a network does that has lost one end of its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::registry::ANYWHERE;

/// A proxy in front of one server, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// Where connections lead that are opened now.
    target: Arc<Mutex<SocketAddr>>,
    /// What the connections that are opened now listen to.
    wires: Arc<Mutex<Wires>>,
    _stop: DropGuard,
}

/// The fate of all connections that were opened between two calls of [`Proxy::freeze`].
#[derive(Debug, Clone, Default)]
struct Wires {
    frozen: CancellationToken,
    given_up: CancellationToken,
    cut: CancellationToken,
}

/// Connections that lead nowhere any more. Both ends still believe in them.
#[derive(Debug)]
pub struct Frozen(Wires);

impl Frozen {
    /// Closes them, as a server does once its keepalive has gone unanswered.
    pub fn cut(self) {
        self.0.cut.cancel();
    }

    /// Closes the server's ends alone: it has given up, and the clients will never hear of it.
    pub fn give_up(&self) {
        self.0.given_up.cancel();
    }
}

impl Proxy {
    /// A proxy on a free port of the loopback, in front of `target`.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANYWHERE).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let accepted = Arc::new(AtomicUsize::new(0));
        let wires = Arc::new(Mutex::new(Wires::default()));
        let target = Arc::new(Mutex::new(target));
        let (counter, current, end) = (accepted.clone(), wires.clone(), stop.clone());
        let aim = target.clone();
        tokio::spawn(async move {
            // Cancel-safe: a connection that is not accepted yet waits in the listener's queue.
            while let Some(Ok((client, _))) = end.run_until_cancelled(listener.accept()).await {
                counter.fetch_add(1, Ordering::SeqCst);
                let wires = current.lock().expect("nobody panics with it").clone();
                let target = *aim.lock().expect("nobody panics with it");
                tokio::spawn(
                    end.clone()
                        .run_until_cancelled_owned(forward(client, target, wires)),
                );
            }
        });
        Self {
            address,
            accepted,
            target,
            wires,
            _stop: stop.drop_guard(),
        }
    }

    /// Where the proxy listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Leads connections that are opened from now on to another server.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    pub fn redirect(&self, target: SocketAddr) {
        *self.target.lock().expect("nobody panics with it") = target;
    }

    /// Closes every open connection. Connections that are opened later work.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    pub fn cut(&self) {
        self.freeze().cut();
    }

    /// Lets every open connection fall silent: it stays open, and no byte passes any more in either direction. Connections
    /// that are opened later work.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    #[must_use = "dropping the answer leaves them frozen until the proxy ends"]
    pub fn freeze(&self) -> Frozen {
        let mut wires = self.wires.lock().expect("nobody panics with it");
        let old = std::mem::take(&mut *wires);
        old.frozen.cancel();
        Frozen(old)
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, wires: Wires) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Bytes that were read and not written when it freezes are lost, as on a wire.
    let forwarding = copy_bidirectional(&mut client, &mut server);
    if wires.frozen.run_until_cancelled(forwarding).await.is_none() {
        // Cancel-safe: both only wait.
        tokio::select! {
            () = wires.cut.cancelled() => return,
            () = wires.given_up.cancelled() => drop(server),
        }
        wires.cut.cancelled().await;
    }
}
