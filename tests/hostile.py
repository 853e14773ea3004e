"""Keys and names that lose something on the way through careless hands."""

from tests.servers import AzureServer

# What S3 takes as a key; the comment says who would lose it.
HOSTILE = [
    "a//b",  # obstore fails the whole listing
    "/lead", "trail/", "a/a", "a/a/",  # obstore drops the slash: two keys become one
    "../up", "x/../y", "./here",  # obstore fails the whole listing
    "tab\there", "\x01control",  # not to be written in XML 1.0
    "quote\"'", "per%20cent", "plus+and space", "amp&<tag>", "é/😀.bin", "back\\slash", "a\\x41",
    "k" * 1024,
    "one/same.bin", "two/same.bin",
]  # fmt: skip
# Moto takes no new line; Azurite no control characters, dot folders or backslashes.
CEPH_ONLY = ["new\nline"]
NOT_IN_AZURE = {
    "/lead",
    "../up",
    "x/../y",
    "./here",
    "tab\there",
    "\x01control",
    "k" * 1024,
    "back\\slash",
    "a\\x41",
}


def taken_by(server) -> list[str]:
    """The keys that a server of the tests takes."""
    if isinstance(server, AzureServer):
        return [key for key in HOSTILE if key not in NOT_IN_AZURE]
    return HOSTILE + (CEPH_ONLY if server.access_key_id == "ceph-key" else [])
