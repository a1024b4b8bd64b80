//! A certificate authority for one test, the certificate of a server on 127.0.0.1 by it, and those of its clients.

use std::fmt;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What a server and its clients need.
pub struct Certificates {
    /// The authority's certificate, for whoever is to believe it, in PEM.
    pub authority: String,
    /// The server's.
    pub server: Identity,
    issuer: Issuer<'static, KeyPair>,
}

/// A private key and its certificate, both in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The key, in PKCS#8, not encrypted.
    pub key: String,
    /// The certificate.
    pub certificate: String,
}

impl Certificates {
    /// Makes an authority and lets it sign the certificate of a server that is reached as `localhost` or `127.0.0.1`.
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
        let server = sign(&issuer, "127.0.0.1", names, ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(Self {
            authority: authority_certificate.pem(),
            server,
            issuer,
        })
    }

    /// The certificate of a client whose distinguished name is `CN=name`.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn client(&self, name: &str) -> anyhow::Result<Identity> {
        sign(
            &self.issuer,
            name,
            Vec::new(),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }
}

fn sign(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    hosts: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
) -> anyhow::Result<Identity> {
    let mut wanted = CertificateParams::new(hosts)?;
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted.extended_key_usages = vec![purpose];
    let key = KeyPair::generate()?;
    let certificate = wanted
        .signed_by(&key, issuer)
        .context("the authority cannot sign")?;
    Ok(Identity {
        key: key.serialize_pem(),
        certificate: certificate.pem(),
    })
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
