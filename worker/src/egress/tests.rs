//! What may be called, and what comes of a call.

use super::{Answer, Egress, InvalidNetwork, Message, Network, Silence, is_public, meant, retry_after};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[test]
fn only_addresses_of_machines_on_the_internet_are_public() {
    let public = |text: &str| is_public(meant(text.parse::<IpAddr>().unwrap()));
    for open in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
    ] {
        assert!(public(open), "{open}");
    }
    for closed in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1.1.1.1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!public(closed), "{closed}");
    }
}

#[tokio::test]
async fn nothing_inside_is_called_however_it_is_spelled() {
    let (port, called) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let egress = Egress::new(vec![]).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "169.254.169.254",
        "localhost",
        "LOCALHOST",
        "ada:secret@127.0.0.1",
        "example.com@localhost",
    ] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(post(&egress, &url).await, Err(Silence::Blocked), "{host}");
    }
    assert!(!called.is_finished(), "somebody came through");
    called.abort();
}

#[tokio::test]
async fn what_is_allowed_is_called_and_a_redirect_is_an_answer() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        let (port, called) = receiver(redirect).await;
        let allowed = Egress::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
        let elsewhere = Egress::new(vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
        let url = format!("http://{host}:{port}/hook?key=1");
        assert_eq!(post(&elsewhere, &url).await, Err(Silence::Blocked));
        assert_eq!(post(&allowed, &url).await, Ok(Answer { status: 302, retry_after: None }));
        assert!(called.await.unwrap().starts_with("POST /hook?key=1 HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn a_name_is_looked_at_by_where_it_leads() {
    let (port, called) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let egress = Egress::new(vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let answer = post(&egress, &format!("http://localhost:{port}/")).await;
    assert_eq!(answer, Ok(Answer { status: 204, retry_after: None }));
    called.await.unwrap();
    assert_eq!(post(&egress, "http://nobody.invalid/").await, Err(Silence::Unresolved));
    assert_eq!(post(&egress, &format!("http://127.0.0.1:{port}/")).await, Err(Silence::Unreachable));
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let (port, called) = receiver(Box::leak(format!("{head}{}", "x".repeat(8192)).into_boxed_str())).await;
    let egress = Egress::new(vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let answer = post(&egress, &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(answer, Ok(Answer { status: 200, retry_after: None }));
    called.await.unwrap();
}

#[test]
fn a_receiver_may_ask_for_patience() {
    let asked = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
        retry_after(&headers)
    };
    assert_eq!(asked("120"), Some(Duration::from_secs(120)));
    assert_eq!(asked("99999999"), Some(Duration::from_hours(24)));
    assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(asked("Wed, 21 Oct 2099 07:28:00 GMT"), Some(Duration::from_hours(24)));
    for nonsense in ["soon", "", "-1", "1.5", "99999999999999999999999"] {
        assert_eq!(asked(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_network_is_checked() {
    for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
        assert_eq!(wrong.parse::<Network>(), Err(InvalidNetwork), "{wrong}");
    }
}

async fn post(egress: &Egress, url: &str) -> Result<Answer, Silence> {
    egress.post(Message { url, headers: HeaderMap::new(), body: "{}".to_owned() }).await
}

/// Takes one request, which it gives back, and answers it so.
async fn receiver(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request[..read].to_vec()).unwrap()
    });
    (port, task)
}
