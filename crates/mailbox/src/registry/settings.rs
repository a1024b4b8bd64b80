//! Which registry, how it knows us, and how we know it.

use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Url};
use schema_registry_converter::async_impl::schema_registry::SrSettings;

use crate::{
    kafka::Secret,
    registry::{ANSWER_LIMIT, RegistryError, RegistryMode},
};

/// A schema registry and how to reach it.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Its address, with the path of its Confluent API if it has one. May hold `user:password@`.
    pub url: String,
    /// What to do with our schemas at start.
    pub mode: RegistryMode,
    /// Who we are there, when it asks.
    pub login: Option<RegistryLogin>,
    /// The authorities that we believe when it shows its certificate, in PEM; the system's when none.
    pub authority: Option<Vec<u8>>,
}

/// HTTP's basic authentication. At Confluent's cloud the user is the API key and the password its secret.
#[derive(Debug, Clone)]
pub struct RegistryLogin {
    /// The user's name, without a colon.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl RegistrySettings {
    /// A registry that lets everybody in.
    #[must_use]
    pub fn open(url: &str, mode: RegistryMode) -> Self {
        Self {
            url: url.to_owned(),
            mode,
            login: None,
            authority: None,
        }
    }

    /// The address as it may be shown: without credentials, and without a slash at the end.
    #[must_use]
    pub fn shown(&self) -> String {
        let words = match Url::parse(&self.url) {
            Ok(mut url) => {
                // Fails only for addresses that cannot hold any.
                let _ = url.set_password(None);
                let _ = url.set_username("");
                url.to_string()
            }
            Err(_) => self.url.clone(),
        };
        words.trim_end_matches('/').to_owned()
    }

    /// A client that believes the right authorities. [`RegistrySettings::logged_in`] makes its requests ours.
    ///
    /// # Errors
    /// [`RegistryError::Authority`], or [`RegistryError::Address`] when no client can be made.
    pub fn client(&self) -> Result<Client, RegistryError> {
        self.builder()?.build().map_err(|error| self.unusable(&error))
    }

    /// The request with who we are.
    pub fn logged_in(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some(login) => request.basic_auth(&login.user, Some(login.password.reveal())),
            None => request,
        }
    }

    /// The same for the library.
    pub(super) fn library(&self) -> Result<SrSettings, RegistryError> {
        let mut settings = SrSettings::new_builder(self.url.trim_end_matches('/').to_owned());
        settings.set_timeout(ANSWER_LIMIT);
        if let Some(login) = &self.login {
            settings.set_basic_authorization(&login.user, Some(login.password.reveal()));
        }
        let built = settings.build_with(self.builder()?);
        built.map_err(|error| self.unusable(&error))
    }

    fn builder(&self) -> Result<ClientBuilder, RegistryError> {
        let builder = Client::builder().timeout(ANSWER_LIMIT);
        let Some(pem) = &self.authority else {
            return Ok(builder);
        };
        let unfit = |reason: &str| RegistryError::Authority(reason.to_owned());
        let believed = Certificate::from_pem_bundle(pem).map_err(|error| unfit(&error.to_string()))?;
        if believed.is_empty() {
            return Err(unfit("there is none in it"));
        }
        Ok(builder.tls_certs_only(believed))
    }

    fn unusable(&self, error: &impl ToString) -> RegistryError {
        RegistryError::Address {
            url: self.shown(),
            reason: error.to_string(),
        }
    }
}
