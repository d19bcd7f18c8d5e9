//! A forgotten password, with a mail server of our own at the other end.

use reqwest::StatusCode;
use serde_json::json;
use tests::server::Server;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const PAGE: &str = "https://voxmill.example/password-reset?token=";

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_by_mail_and_sets_a_new_password() {
    let (url, mut letters) = mail_server().await;
    let server = Server::start_with(&[
        ("VOXMILL_SMTP_URL", &url),
        ("VOXMILL_MAIL_FROM", "Voxmill <mail@voxmill.example>"),
        ("VOXMILL_PUBLIC_URL", "https://voxmill.example"),
    ]);
    let user = server.user().await;
    let ask = async |email: &str| {
        let answer = user.post("/api/v1/auth/password-reset", &json!({ "email": email })).await;
        answer.expect(StatusCode::ACCEPTED)
    };
    assert_eq!(ask("nobody@example.com").await, ask(&user.email).await);
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.from, "<mail@voxmill.example>");
    assert_eq!(letter.to, format!("<{}>", user.email));
    assert!(letter.data.contains("\nSubject: Set a new password\n"), "{}", letter.data);
    assert!(letter.data.contains("\nFrom: Voxmill <mail@voxmill.example>\n"), "{}", letter.data);
    let start = letter.data.find(PAGE).unwrap() + PAGE.len();
    let token: String = letter.data[start..].chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(token.len(), 64, "{}", letter.data);

    let new = json!({ "token": token, "password": "a password that is new" });
    let confirmed = user.post("/api/v1/auth/password-reset/confirm", &new).await;
    assert_eq!(confirmed.status, StatusCode::NO_CONTENT, "{}", confirmed.body);
    user.get("/api/v1/usage").await.expect(StatusCode::UNAUTHORIZED);
    let mut again = user.clone();
    again.password = "a password that is new".to_owned();
    again.log_in().await;
    let used = user.post("/api/v1/auth/password-reset/confirm", &new).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(used["details"]["field"], "token");
    assert!(letters.try_recv().is_err(), "nobody else was written to");
}

/// What a mail server was given.
struct Received {
    from: String,
    to: String,
    data: String,
}

/// Speaks as much SMTP as it takes to be given a letter.
async fn mail_server() -> (String, UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (sender, letters) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(receive(stream, sender.clone()));
        }
    });
    (url, letters)
}

async fn receive(stream: TcpStream, letters: UnboundedSender<Received>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    let (mut from, mut to) = (String::new(), String::new());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let text = line.trim_end();
        let answer = match text.split([' ', ':']).next().unwrap() {
            "MAIL" => {
                from = path(text);
                "250 ok"
            }
            "RCPT" => {
                to = path(text);
                "250 ok"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let data = data(&mut stream).await;
                let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                letters.send(Received { from, to, data }).unwrap();
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 mail.example",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
}

/// What stands after the colon, without parameters.
fn path(line: &str) -> String {
    let path = line.split_once(':').unwrap().1.trim();
    path.split(' ').next().unwrap().to_owned()
}

async fn data(stream: &mut BufReader<TcpStream>) -> String {
    let mut data = String::from("\n");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            // As text, from its form that keeps lines short.
            "." => return data.replace("=\n", "").replace("=3D", "="),
            text => data += &format!("{text}\n"),
        }
    }
}
