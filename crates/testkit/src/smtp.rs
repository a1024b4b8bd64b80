//! A mail server for one test, which behaves as badly as it is told to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::tls;

/// What the server does with the next mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Takes them.
    Accept,
    /// Answers `RCPT TO` with this line; a `{}` in it becomes the address, as real servers repeat it.
    RefuseRecipient(&'static str),
    /// Answers the end of the content with this line.
    RefuseContent(&'static str),
    /// Closes the connection in place of the answer to `DATA`.
    CloseMidway,
    /// Takes the content, and closes the connection in place of saying so.
    TakeAndClose,
    /// Accepts connections and says nothing.
    Hang,
    /// Wants a login, and refuses it.
    RefuseLogin,
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Address of the sender in the envelope.
    pub from: String,
    /// Address of the recipient in the envelope.
    pub to: String,
    /// Headers and body, as they came.
    pub content: String,
    /// Whether it came over TLS.
    pub protected: bool,
}

impl Taken {
    /// The value of a header, without folding.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.content.split("\r\n\r\n").next()?.replace("\r\n ", " ");
        head.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
    }
}

#[derive(Debug)]
struct Shared {
    manners: Manners,
    taken: Vec<Taken>,
    commands: Vec<String>,
}

/// The server. Ends with this handle.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl MailServer {
    /// A server on a free port of loopback that accepts everything.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, and it offers STARTTLS with a key and its certificate in PEM.
    ///
    /// # Panics
    /// When there is no free port, or key and certificate are none.
    pub async fn start_with_tls(key: &str, certificate: &str) -> Self {
        Self::start_with(Some(tls::acceptor(key, certificate))).await
    }

    async fn start_with(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Mutex::new(Shared {
            manners: Manners::Accept,
            taken: Vec::new(),
            commands: Vec::new(),
        }));
        let served = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, acceptor) = (served.clone(), acceptor.clone());
                // A client that goes away ends its conversation, which is all that there is to it.
                tokio::spawn(async move { drop(converse(Box::new(stream), &shared, acceptor).await) });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// `smtp://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Behaves otherwise from the next command on.
    pub fn behave(&self, manners: Manners) {
        lock(&self.shared).manners = manners;
    }

    /// The mails that were taken so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.shared).taken.clone()
    }

    /// The commands that came so far, without what follows a password's.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared).commands.clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody panics with it")
}

/// A connection, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

type Stream = BufReader<Box<dyn Wire>>;

/// One connection, after RFC 5321 and RFC 3207, as far as a client of ours goes.
async fn converse(
    wire: Box<dyn Wire>,
    shared: &Mutex<Shared>,
    mut acceptor: Option<TlsAcceptor>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(wire);
    let mut protected = false;
    if lock(shared).manners == Manners::Hang {
        // Until the client has had enough.
        let mut ignored = String::new();
        while stream.read_line(&mut ignored).await? > 0 {}
        return Ok(());
    }
    say(&mut stream, "220 test ready").await?;
    let (mut from, mut to) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let manners = {
            let mut shared = lock(shared);
            shared.commands.push(verb.clone());
            shared.manners
        };
        match verb.as_str() {
            "EHLO" if manners == Manners::RefuseLogin => {
                say(&mut stream, "250-test\r\n250 AUTH PLAIN").await?;
            }
            "EHLO" if acceptor.is_some() => say(&mut stream, "250-test\r\n250 STARTTLS").await?,
            "EHLO" => say(&mut stream, "250 test").await?,
            "STARTTLS" => match acceptor.take() {
                Some(acceptor) => {
                    say(&mut stream, "220 go on").await?;
                    stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await?));
                    protected = true;
                }
                None => say(&mut stream, "502 not here").await?,
            },
            "AUTH" => say(&mut stream, "535 5.7.8 the password is wrong").await?,
            "MAIL" => {
                from = address(line);
                say(&mut stream, "250 ok").await?;
            }
            "RCPT" => {
                to = address(line);
                match manners {
                    Manners::RefuseRecipient(answer) => say(&mut stream, &answer.replace("{}", &to)).await?,
                    Manners::Accept
                    | Manners::RefuseContent(_)
                    | Manners::CloseMidway
                    | Manners::TakeAndClose
                    | Manners::Hang
                    | Manners::RefuseLogin => say(&mut stream, "250 ok").await?,
                }
            }
            "DATA" if manners == Manners::CloseMidway => return Ok(()),
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let content = content(&mut stream).await?;
                let manners = lock(shared).manners;
                if let Manners::RefuseContent(answer) = manners {
                    say(&mut stream, answer).await?;
                    continue;
                }
                lock(shared).taken.push(Taken {
                    from: from.clone(),
                    to: to.clone(),
                    content,
                    protected,
                });
                if manners == Manners::TakeAndClose {
                    return Ok(());
                }
                say(&mut stream, "250 taken").await?;
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            "RSET" | "NOOP" => say(&mut stream, "250 ok").await?,
            _ => say(&mut stream, "502 not here").await?,
        }
    }
}

async fn say(stream: &mut Stream, line: &str) -> std::io::Result<()> {
    stream
        .get_mut()
        .write_all(format!("{line}\r\n").as_bytes())
        .await?;
    stream.get_mut().flush().await
}

/// What is between `<` and `>`.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

/// Everything up to the line with a dot alone.
async fn content(stream: &mut Stream) -> std::io::Result<String> {
    let mut content = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(content);
        }
        content.push_str(
            line.strip_prefix("..")
                .map(|rest| format!(".{rest}"))
                .as_deref()
                .unwrap_or(&line),
        );
    }
}
