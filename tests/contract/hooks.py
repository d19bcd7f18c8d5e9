"""A check of our own: a request that the document allows is refused only for a reason that no schema can say."""

import re

import schemathesis

# The field at fault (any, where it is empty) and the issue, as the API names them.
UNSAYABLE = [
    ("", r"must not hold NUL"),
    ("cursor|before", r"is not one of ours"),
    ("email", r"Invalid email format|Enter a valid email address\.|User with this email already exists\."),
    ("password|new_password", r"This password is too short"),
    ("current_password", r"Current password is incorrect"),
    ("password", r"is not the password of this account"),
    ("display_name", r"This field may not be blank"),
    ("name|fullName|first_name|message", r"must not be blank"),
    ("language|preferred_language|target_language|source_language", r"ISO 639-1|no voice speaks|Whisper knows"),
    ("preferred_voice", r"names no voice"),
    ("expires_at|scheduledStartTime", r"must lie in the future"),
    ("passcode", r"is for private rooms|is required for a private room"),
    ("sha256", r"must be hexadecimal"),
    (r"text|text_content|segments\..*", r"must hold something that can be spoken"),
    ("audio_sample_id", r"must be a file with sound|s of speech"),
    ("session_id", r"is finished already"),
    ("body", r"part \d+ must be \d+ bytes long|is not well-formed multipart/form-data"),
    (r"segments\.\d+\.(start|end)", r"must lie after|must not (lie|overlap)"),
    ("text_content", r"either text_content or segments is required"),
    ("Idempotency-Key", r"must be 1 to 255 printable ASCII characters"),
    ("audio_file_id", r"either audio_file_id or voice_profile_id is required"),
    (r"phone_number(s\.\d+)?", r"must be (a number )?as in E\.164"),
    ("body", r"holds no calls"),
    ("phone_number|status", r"is missing in the first line"),
    ("start_date|end_date", r"must be a day such as|must lie after|must not lie before"),
    ("token", r"was used, has run out, or never was one of ours"),
    ("voice_parameters", r"must (hold|be) at most"),
    ("start_time|end_time", r"must lie between the years|must lie after"),
    ("callback_url|engine|extend|diarize", r"not available yet"),
    ("output_formats", r"must name (at least one of|each format once)"),
    ("sample_rate", r"has the sample rates"),
    ("segments", r"must hold at most"),
    ("subtitles_file_id", r"is required to burn"),
    ("", r"The limit is \d+ bytes"),
    ("file", r"media_unsupported|media_truncated|media_invalid|file_empty"),
]


@schemathesis.check
def refusals_are_explained(ctx, response, case):
    """What the document allows is taken, or refused by a rule that stands above."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in (400, 413, 415):
        return
    faults = list(_faults(response.json()))
    unknown = [fault for fault in faults if not _is_unsayable(*fault)]
    assert not unknown, f"the document allows what was refused: {unknown}"


def _faults(body):
    """The fields at fault and their issues, in whichever dialect."""
    if "success" in body:
        for fault in (body["error"]["details"] or "").split("; "):
            field, _, issue = fault.rpartition(": ")
            yield field, issue
    elif "error" in body:
        details = body.get("details", {"field": "", "issue": body["message"]})
        yield details["field"], details["issue"]
    else:
        for field, issues in body.items():
            yield field, issues[0] if isinstance(issues, list) else issues


def _is_unsayable(field, issue):
    return any(re.fullmatch(fields or ".*", field, re.DOTALL) and re.search(rule, issue) for fields, rule in UNSAYABLE)
