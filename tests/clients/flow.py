"""One flow of each surface, by the client that is generated from the OpenAPI document: flow.py URL VIDEO."""

import pathlib
import sys
import time
import uuid
from typing import TypeVar

import httpx

from client import AuthenticatedClient, Client
from client.api.agents import create_agent
from client.api.auth import (
    get_signed_in_user,
    get_session_user,
    login_user,
    logout_session,
    refresh_day_token,
    register_user,
    register_with_session,
    sign_in,
    sign_up,
)
from client.api.campaigns import create_campaign, launch_campaign, list_campaigns
from client.api.files import get_file_content, upload_file
from client.api.processing import extract_audio, get_job
from client.api.projects import (
    create_project,
    finish_voice_session,
    get_project,
    list_voice_sessions,
    start_voice_session,
)
from client.api.rooms import (
    create_room,
    end_session,
    find_room_by_code,
    join_session,
    list_chat_messages,
    send_chat_message,
    start_session,
)
from client.api.users import get_profile, list_history, replace_preferences, update_profile
from client import models
from client.types import File

URL, VIDEO = sys.argv[1:]
PASSWORD = "correct horse battery"
T = TypeVar("T")


def given(kind: type[T], answer: object) -> T:
    """The answer, which must be of this kind."""
    assert isinstance(answer, kind), answer
    return answer


def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def log_in() -> AuthenticatedClient:
    """A new user, logged in by token."""
    stranger, address = Client(URL), email()
    new = models.Registration(full_name="Ada Łukasiewicz", email=address, password=PASSWORD)
    given(models.Registered, register_user.sync(client=stranger, body=new))
    credentials = models.Credentials(email=address, password=PASSWORD)
    pair = given(models.TokenPair, login_user.sync(client=stranger, body=credentials))
    return AuthenticatedClient(URL, pair.access_token)


def clone_video() -> None:
    client = log_in()
    with open(VIDEO, "rb") as video:
        form = models.UploadFileBody(file=File(payload=video, file_name="talk.mp4"))
        uploaded = given(models.File, upload_file.sync(client=client, body=form))
    request = models.ExtractAudioRequest(video_file_id=uploaded.file_id)
    accepted = given(models.AcceptedJob, extract_audio.sync(client=client, body=request))
    while True:
        job = given(models.Job, get_job.sync(accepted.job_id, client=client))
        if job.status not in (models.JobStatus.QUEUED, models.JobStatus.PROCESSING):
            break
        time.sleep(0.1)
    assert job.status is models.JobStatus.COMPLETED, job
    audio = given(models.JobResult, job.result).files[0]
    content = get_file_content.sync_detailed(audio.file_id, client=client)
    assert len(content.content) == audio.size_bytes
    assert httpx.get(given(str, job.result_url)).content == content.content


def hold_voice_session() -> None:
    client = log_in()
    project = given(models.Project, create_project.sync(client=client, body=models.NewProject(name="Młyn")))
    start = models.StartVoiceSession(project_id=project.id)
    started = given(models.VoiceSession, start_voice_session.sync(client=client, body=start))
    finish = models.FinishVoiceSession(session_id=started.id)
    finished = given(models.VoiceSession, finish_voice_session.sync(client=client, body=finish))
    assert finished.status is models.VoiceSessionStatus.FINISHED
    sessions = given(list, list_voice_sessions.sync(client=client, project_id=project.id))
    assert [session.id for session in sessions] == [started.id]
    assert given(models.Error, get_project.sync(0, client=client)).detail == "Not found."


def use_browser_session() -> None:
    new = models.SessionRegistration(email=email(), password=PASSWORD, display_name="Ada")
    # The cookie stays in the client that got it.
    browser = AuthenticatedClient(URL, token="", prefix="", auth_header_name="X-No-Token")
    plain = Client(URL)
    plain.set_httpx_client(browser.get_httpx_client())
    given(models.SessionUser, register_with_session.sync(client=plain, body=new))
    change = models.ProfileChange(display_name="Ada L.")
    given(models.Profile, update_profile.sync(client=browser, body=change))
    preferences = models.Preferences(
        preferred_voice="nova", preferred_language="pl", favorite_topics=["młyny"], system_prompt_override=""
    )
    replace_preferences.sync(client=browser, body=preferences)
    profile = given(models.Profile, get_profile.sync(client=browser))
    assert (profile.display_name, profile.preferences) == ("Ada L.", preferences)
    assert given(models.History, list_history.sync(client=browser)).results == []
    logout_session.sync(client=browser)
    given(models.NotAuthenticated, get_session_user.sync(client=browser))


def meet() -> None:
    host, guest = log_in(), log_in()
    room = given(models.DataRoom, create_room.sync(client=host, body=models.NewRoom(name="Młyn"))).data
    started = start_session.sync(room.id, client=host, body=models.StartSession())
    found = given(models.DataFoundRoom, find_room_by_code.sync(room.unique_code, client=guest)).data
    session = given(models.Session, found.live_session).id
    assert given(models.DataSession, started).data.id == session
    given(models.DataParticipant, join_session.sync(session, client=guest, body=models.JoinSession()))
    message = models.NewMessage(message="Dzień dobry")
    given(models.DataChatMessage, send_chat_message.sync(session, client=guest, body=message))
    chat = given(models.DataListChatMessage, list_chat_messages.sync(session, client=host))
    assert [message.message for message in chat.data] == ["Dzień dobry"]
    ended = given(models.DataSession, end_session.sync(session, client=host)).data
    assert ended.status is models.SessionStatus.ENDED


def launch() -> None:
    stranger, address = Client(URL), email()
    new = models.SignUp(email=address, password=PASSWORD, first_name="Ada", last_name="Lovelace")
    given(models.SignedUp, sign_up.sync(client=stranger, body=new))
    credentials = models.Credentials(email=address, password=PASSWORD)
    signed = given(models.SignedIn, sign_in.sync(client=stranger, body=credentials))
    refresh = models.RefreshRequest(refresh_token=signed.refresh_token)
    bearer = AuthenticatedClient(URL, signed.refresh_token)
    renewed = given(models.DayToken, refresh_day_token.sync(client=bearer, body=refresh))
    client = AuthenticatedClient(URL, renewed.token)
    assert given(models.CurrentUser, get_signed_in_user.sync(client=client)).email == address
    new_agent = models.NewAgent(
        name="Ada",
        llm_provider="openai",
        llm_model="gpt-4",
        stt_provider="deepgram",
        tts_provider="cartesia",
        system_prompt="Be brief.",
        language="en",
    )
    agent = given(models.Agent, create_agent.sync(client=client, body=new_agent)).id
    spring = models.NewCampaign(name="Spring", agent_id=agent, phone_numbers=["+15550100123"])
    campaign = given(models.Campaign, create_campaign.sync(client=client, body=spring))
    launched = given(models.Campaign, launch_campaign.sync(campaign.id, client=client))
    assert launched.status is models.CampaignStatus.ACTIVE
    active = given(models.CountedListCampaign, list_campaigns.sync(client=client, agent_id=agent))
    assert [item.id for item in active.items] == [campaign.id]
    credentials.password = "wrong"
    refused = given(models.Envelope, sign_in.sync(client=stranger, body=credentials))
    assert refused.error.code == "AUTH_001"


for flow in (clone_video, hold_voice_session, use_browser_session, meet, launch):
    flow()
    print(f"python: {flow.__name__} went through")
