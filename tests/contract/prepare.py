"""Gives three new users of a server something to ask for, and writes how they authenticate.

prepare.py URL FOLDER: the accounts go into FOLDER/users.json (Web Fuzzing Commons), two by API key and one by cookie, and
the ids of the first user's files into FOLDER/sounds and FOLDER/videos.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
import uuid

PASSWORD = "correct horse battery"


class Client:
    def __init__(self, url):
        self.url = url
        self.headers = {}

    def send(self, method, path, body=None, content_type="application/json"):
        """The JSON of a successful answer; the answer's cookie is kept aside."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = self.headers | ({"Content-Type": content_type} if data else {})
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            self.cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
            return json.loads(answer.read() or b"null")

    def upload(self, path):
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return self.send("POST", "/api/v1/files/upload", body, kind)["file_id"]


def recordings(folder):
    speech, video = folder / "speech.wav", folder / "talk.mp4"
    text = "The mill turns night and day, and the miller counts the sacks before the rain comes down."
    subprocess.run(["espeak-ng", "-w", speech, text], check=True)
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *picture, "-i", speech, "-shortest", video], check=True)
    return speech, video


def account(url):
    """A new user, by the key that lasts through every log-out; the client and the user's id."""
    client = Client(url)
    person = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "fullName": "Ada Lovelace"}
    client.send("POST", "/api/v1/auth/register", person)
    token = client.send("POST", "/api/v1/auth/login", person)["access_token"]
    client.headers = {"Authorization": f"Bearer {token}"}
    key = client.send("POST", "/api/v1/auth/api-keys", {"name": "contract"})["key"]
    client.headers = {"Authorization": f"Bearer {key}"}
    return client


def furnish(client, speech, video):
    """One of everything that has an id; the ids of a recording and of a video that stay."""
    sound, film = client.upload(speech), client.upload(video)
    client.send("POST", "/api/v1/process/extract-audio", {"video_file_id": film})
    client.send("POST", "/api/v1/files/uploads", {"filename": "a.wav", "size_bytes": 10, "content_type": "audio/wav"})
    profile = {"name": "Ada", "audio_sample_id": sound, "language": "en"}
    client.send("POST", "/api/v1/voices/create-profile", profile)
    project = client.send("POST", "/api/v1/projects", {"name": "Mill"})["id"]
    client.send("POST", "/api/v1/sessions/start", {"project_id": project})
    room = client.send("POST", "/api/v1/rooms", {"name": "Mill"})["data"]["id"]
    live = client.send("POST", f"/api/v1/rooms/{room}/sessions/start", {})["data"]["id"]
    client.send("POST", f"/api/v1/sessions/{live}/participants", {})
    client.send("POST", f"/api/v1/sessions/{live}/chat", {"message": "Hello"})
    return sound, film


def main(url, target):
    target = pathlib.Path(target)
    with tempfile.TemporaryDirectory() as folder:
        speech, video = recordings(pathlib.Path(folder))
        keys = {}
        for name in ("ada", "ben"):
            client = account(url)
            sound, film = furnish(client, speech, video)
            keys[name] = client.headers
            if name == "ada":
                (target / "sounds").write_text(json.dumps(sound))
                (target / "videos").write_text(json.dumps(film))
        browser = Client(url)
        person = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD, "display_name": "Cyd"}
        browser.send("POST", "/api/auth/register", person)
        browser.headers = keys["cyd"] = {"Cookie": browser.cookie}
        furnish(browser, speech, video)
    users = [
        {"name": name, "fixedHeaders": [{"name": header, "value": value} for header, value in headers.items()]}
        for name, headers in keys.items()
    ]
    (target / "users.json").write_text(json.dumps({"auth": users}))


main(*sys.argv[1:])
