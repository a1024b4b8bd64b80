//! TLS in front of a server that speaks none.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::registry::ANYWHERE;

/// Takes TLS connections and passes what is in them on, until it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    _stop: DropGuard,
}

impl TlsFront {
    /// Listens on a free port of the loopback, in front of `target`, with a key and its certificate in PEM.
    ///
    /// # Panics
    /// When no port can be bound, or key and certificate are none.
    pub async fn start(target: SocketAddr, key: &str, certificate: &str) -> Self {
        let acceptor = acceptor(key, certificate);
        let listener = TcpListener::bind(ANYWHERE).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let end = stop.clone();
        tokio::spawn(async move {
            // Cancel-safe: a connection that is not accepted yet waits in the listener's queue.
            while let Some(Ok((client, _))) = end.run_until_cancelled(listener.accept()).await {
                let acceptor = acceptor.clone();
                tokio::spawn(end.clone().run_until_cancelled_owned(async move {
                    // A client that does not believe us goes away; that is what a test may be about.
                    let Ok(mut client) = acceptor.accept(client).await else {
                        return;
                    };
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        // The end of either side is the end of both.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                }));
            }
        });
        Self {
            address,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The server's side of TLS, with a key and its certificate in PEM.
///
/// # Panics
/// When they are none.
#[must_use]
pub fn acceptor(key: &str, certificate: &str) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("the key is PEM");
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .map(|one| one.expect("the certificate is PEM").into_owned())
        .collect();
    // Named, because the process may hold a second provider.
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the certificate is the key's");
    TlsAcceptor::from(Arc::new(config))
}
