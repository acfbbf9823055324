//! TLS that ends at the broker: a certificate authority of this session alone, whose key never leaves memory, and the
//! verification of the real servers.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use chaperone_egress::Host;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use chaperone_protocol::Failure;

/// Hosts whose certificates are kept. Protects memory; beyond it they are made anew.
const KEPT: usize = 512;
const H2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// The authority of one session.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority, for nothing but the names that it is asked for.
    ///
    /// # Errors
    /// `no_authority` when the system has no randomness.
    pub fn new(session: &str) -> Result<Self, Failure> {
        let failed = |e: rcgen::Error| {
            Failure::new("no_authority", format!("no certificate authority can be made: {e}"))
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("Chaperone session {session}"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        lifetime(&mut params);
        let certificate = params.self_signed(&key).map_err(failed)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, configs: Mutex::default() })
    }

    /// What the cell has to trust, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// What speaks for a host in the cell.
    fn config(&self, host: &Host) -> io::Result<Arc<ServerConfig>> {
        let name = host.to_string();
        if let Some(known) = self.configs.lock().get(&name) {
            return Ok(Arc::clone(known));
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(vec![name.clone()]).map_err(io::Error::other)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "Chaperone");
        params.distinguished_name = subject;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lifetime(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone(), self.certificate.clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1.to_vec()];
        let config = Arc::new(config);
        let mut configs = self.configs.lock();
        if configs.len() >= KEPT {
            configs.clear();
        }
        configs.insert(name, Arc::clone(&config));
        Ok(config)
    }

    /// Be the host for the cell.
    ///
    /// # Errors
    /// When the handshake fails: most likely the program does not trust the session's authority.
    pub async fn accept<S>(&self, host: &Host, stream: S) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config(host)?).accept(stream).await
    }
}

/// No clock is outside of it; what ends the trust is that the key dies with the session.
fn lifetime(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Talks to real servers, and believes only whom the system believes.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Arc<ClientConfig>);

impl Upstream {
    /// With the system's roots as they are now.
    ///
    /// # Errors
    /// When there is not a single one.
    pub fn new() -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // One that cannot be read is one that is not trusted.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "this machine has no CA certificates"));
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The handshake with the real host.
    ///
    /// # Errors
    /// Most often that its certificate is not valid for the name.
    pub async fn connect<S>(
        &self,
        host: &Host,
        stream: S,
        http_1_only: bool,
    ) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let config = if http_1_only {
            let mut config = (*self.0).clone();
            config.alpn_protocols = vec![HTTP_1.to_vec()];
            Arc::new(config)
        } else {
            Arc::clone(&self.0)
        };
        TlsConnector::from(config).connect(name, stream).await
    }
}

/// Whether the two sides agreed on HTTP/2.
pub(crate) fn is_h2(agreed: Option<&[u8]>) -> bool {
    agreed == Some(H2)
}
