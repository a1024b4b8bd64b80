//! What the service refuses to start with.

use notifications::mailer::Mailer;

use crate::world::config;

fn refused(flags: &[&str]) -> String {
    format!("{:#}", Mailer::new(&config(flags)).unwrap_err())
}

#[tokio::test]
async fn plain_text_over_a_network_is_refused_unless_it_is_allowed() {
    let from = "--mail-from=Shop <shop@shop.example>";
    let plain = ["--smtp=smtp://mail.example", "--smtp-security=none", from];
    assert!(refused(&plain).contains("plain text"));
    let allowed = [&plain[..], &["--smtp-allow-plaintext"]].concat();
    assert!(Mailer::new(&config(&allowed)).is_ok());
    let login = [&allowed[..], &["--smtp-user=u", "--smtp-password=p"]].concat();
    assert!(refused(&login).contains("a password is never sent"));
    assert!(Mailer::new(&config(&["--smtp=smtp://mail.example", from])).is_ok());
    assert!(Mailer::new(&config(&["--smtp=smtps://mail.example", from])).is_ok());
    assert!(Mailer::new(&config(&["--smtp=smtp://127.0.0.1:1025"])).is_ok());
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let from = "--mail-from=Shop <shop@shop.example>";
    assert!(refused(&["--smtp=smtps://x", "--smtp-security=none", from]).contains("contradict"));
    assert!(refused(&["--smtp=smtp://x", "--smtp-security=tls", from]).contains("contradict"));
    assert!(refused(&["--smtp=smtp://mail.example"]).contains("--mail-from"));
    assert!(refused(&["--smtp=smtps://x", "--smtp-user=u", from]).contains("needs a password"));
    let missing = [
        "--smtp=smtps://x",
        "--smtp-user=u",
        "--smtp-password-file=/none",
        from,
    ];
    assert!(refused(&missing).contains("/none"));
}

#[tokio::test]
async fn a_password_is_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let flag = format!("--smtp-password-file={}", file.display());
    let from = "--mail-from=Shop <shop@shop.example>";
    assert!(Mailer::new(&config(&["--smtp=smtps://x", "--smtp-user=u", &flag, from])).is_ok());
}
