//! A certificate authority for one start, and the certificate of a server on 127.0.0.1 by it.

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// What a server and its clients need.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority's certificate, for clients.
    pub authority: String,
    /// The server's private key and certificate, one after the other.
    pub server: String,
}

impl Certificates {
    /// Makes an authority, lets it sign one certificate, and forgets its key.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn generate() -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority
            .distinguished_name
            .push(DnType::CommonName, "Belay test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        let key = KeyPair::generate()?;
        let certificate = server
            .signed_by(&key, &issuer)
            .context("the authority cannot sign")?;
        Ok(Self {
            authority: authority_certificate.pem(),
            server: format!("{}{}", key.serialize_pem(), certificate.pem()),
        })
    }
}
