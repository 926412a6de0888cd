"""The kinds of text and number that the API's fields hold, each checked once and in words a person can act on.

Patterns that pydantic's own engine checks have their sentence in :data:`SENTENCES`; where one sentence would not say
enough (host names, paths) a function looks for the actual mistake, and only once the quick check has failed.
"""

import re
from collections.abc import Hashable, Iterable
from ipaddress import ip_address
from typing import Annotated, Protocol, TypeVar

from pydantic import AfterValidator, Field, Strict, StringConstraints
from pydantic_core import PydanticCustomError

from routes.resources.meta import DNS_LABEL, DNS_SUBDOMAIN

_GROUP = rf"^$|^{DNS_SUBDOMAIN}$"
_KIND = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
_SUBDOMAIN = rf"^{DNS_SUBDOMAIN}$"
_LABEL = rf"^{DNS_LABEL}$"
_TOKEN = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"  # noqa: S105  (a pattern for header names)
_HEADER_VALUE = r"^[!-~]+([\t ]?[!-~]+)*$"
_DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_DOMAIN_PATH = rf"^{DNS_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
_PROTOCOL = rf"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|{DNS_SUBDOMAIN}\/[A-Za-z0-9]+$"
_ADDRESS_TYPE = rf"^Hostname|IPAddress|NamedAddress|{DNS_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_URL_PATH = r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"
_ORIGIN = r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)"
_WELL_KNOWN = rf"^(System|({DNS_SUBDOMAIN}/([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]))$"
_ABSOLUTE_URI = r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?"

#: What each pattern wants, as the end of "must be …".
SENTENCES = {
    _GROUP: 'an API group such as "gateway.networking.k8s.io", or "" for the core group',
    _KIND: 'a kind such as "Service"',
    _SUBDOMAIN: 'lower case letters, digits, "-" and ".", with a letter or digit at each end',
    _LABEL: 'lower case letters, digits and "-", with a letter or digit at each end',
    _TOKEN: "a name of letters, digits and !#$%&'*+-.^_`|~, without spaces or colons",
    _HEADER_VALUE: "printable ASCII without spaces at its ends and without two spaces in a row",
    _DURATION: 'a duration of whole numbers and units, such as "500ms", "10s" or "1h30m"',
    _DOMAIN_PATH: 'a domain and a path, such as "example.com/gateway-controller"',
    _PROTOCOL: 'a protocol such as "HTTP" or "HTTPS", or one with a domain such as "example.com/name"',
    _ADDRESS_TYPE: '"IPAddress", "Hostname", or a type with a domain such as "example.com/name"',
    LABEL_VALUE: 'letters, digits, "-", "_" and ".", with a letter or digit at each end',
    _URL_PATH: 'a path such as "/check", with everything but letters, digits and -/._~!$&\'()*+,;=:@ written as %XX',
    r"^(In|NotIn|Exists|DoesNotExist)$": "In, NotIn, Exists or DoesNotExist",
    _WELL_KNOWN: '"System", or a set of certificates with a domain such as "example.com/name"',
    _ABSOLUTE_URI: 'a URI such as "spiffe://example.com/ns/default"',
    _ORIGIN: 'an origin such as "https://example.com" or "https://*.example.com", or "*"',
}
#: Patterns of fields that may hold a password or a token, whose content is never repeated in a message.
CONFIDENTIAL = frozenset({_HEADER_VALUE})

GroupName = Annotated[str, StringConstraints(max_length=253, pattern=_GROUP)]
KindName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=_KIND)]
SectionName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_SUBDOMAIN)]
HTTPHeaderName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_TOKEN)]
HTTPHeaderValue = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=_HEADER_VALUE)]
#: A Gateway API duration (GEP-2257) as it is written; :func:`duration_seconds` reads it.
Duration = Annotated[str, StringConstraints(pattern=_DURATION)]
ControllerName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_DOMAIN_PATH)]
ListenerProtocol = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_PROTOCOL)]
AddressType = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_ADDRESS_TYPE)]
CORSOrigin = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_ORIGIN)]
URLPath = Annotated[str, StringConstraints(max_length=1024, pattern=_URL_PATH)]
OptionValue = Annotated[str, StringConstraints(max_length=4096)]
WellKnownCertificates = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_WELL_KNOWN)]
AbsoluteURI = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_ABSOLUTE_URI)]
Weight = Annotated[int, Strict(), Field(ge=0, le=1_000_000)]
#: Numbers that the API server keeps in 32 bits (``format: int32``).
_INT32 = 2**31 - 1
Count = Annotated[int, Strict(), Field(ge=0, le=_INT32)]
PositiveCount = Annotated[int, Strict(), Field(ge=1, le=_INT32)]


def refuse(sentence: str, *at: str | int) -> PydanticCustomError:
    """The error a validator raises. ``at`` leads from the value it looks at to the place to mend, as in manifests."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "at": at})


_DURATION_PART = re.compile(r"([0-9]+)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def duration_seconds(duration: str) -> float:
    """A :data:`Duration` in seconds; 0.0 stands for "no limit" wherever the API takes a timeout."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))


_HOSTNAME = re.compile(rf"(?:\*\.)?{DNS_SUBDOMAIN}")
_PRECISE_HOSTNAME = re.compile(DNS_SUBDOMAIN)
_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return bool(_IPV4.fullmatch(host))
    return True


def _hostname_mistake(value: str, *, wildcard: bool) -> str:
    """What keeps ``value`` from being a host name; it is known to be none."""
    host, colon, port = value.rpartition(":")
    bare = value.partition("://")[2].partition("/")[0]
    checks: tuple[tuple[object, str], ...] = (
        (not value, "must not be empty: leave it out to take every host"),
        (len(value) > 253, "must have at most 253 characters"),
        (_is_address(value) or _is_address(host), f"must be a name, not an IP address: {value!r}"),
        (bare, f"must be a host name without a scheme: write {bare!r} instead of {value!r}"),
        ("/" in value, f"must not have a path: write {value.partition('/')[0]!r} instead of {value!r}"),
        (colon and port.isdigit(), f"must not have a port: write {host!r} instead of {value!r}"),
        (value != value.lower(), f"must be lower case: write {value.lower()!r} instead of {value!r}"),
        (value == "*", "must not be '*' alone: leave it out to take every host"),
        ("*" in value and not wildcard, f"must be one host's name, without the wildcard '*': {value!r}"),
        ("*" in value, f"may have '*' only as the whole leftmost label, as in '*.example.com': {value!r}"),
        (value.endswith("."), f"must not end with a dot: write {value.rstrip('.')!r} instead of {value!r}"),
    )
    fallback = f"must be labels of a-z, 0-9 and '-' joined by dots, each with a letter or digit at its ends: {value!r}"
    return next((sentence for wrong, sentence in checks if wrong), fallback)


def check_hostname(value: str) -> str:
    """Validator of :data:`Hostname`."""
    # Only what ends in a digit can be an IPv4 address, and then it also passes for a name.
    if len(value) <= 253 and _HOSTNAME.fullmatch(value) and not (value[-1].isdigit() and _IPV4.fullmatch(value)):
        return value
    raise refuse(_hostname_mistake(value, wildcard=True))


def _check_precise_hostname(value: str) -> str:
    if (
        len(value) <= 253
        and _PRECISE_HOSTNAME.fullmatch(value)
        and not (value[-1].isdigit() and _IPV4.fullmatch(value))
    ):
        return value
    raise refuse(_hostname_mistake(value, wildcard=False))


#: ``whoami.example.com`` or ``*.example.com``: lower case, no port, no IP address.
Hostname = Annotated[str, AfterValidator(check_hostname)]
#: A :data:`Hostname` without wildcard.
PreciseHostname = Annotated[str, AfterValidator(_check_precise_hostname)]


_PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_UNSAFE_PATH = re.compile(r"//|/\.\.?(?:/|$)|%2[fF]")
_ILLEGAL_IN_PATH = re.compile(r"%(?![0-9a-fA-F]{2})|[^-A-Za-z0-9/._~!$&'()*+,;=:@%]")


def check_path(value: str, *at: str | int) -> None:
    """Refuses what cannot be the path of a request after normalization: HTTPRoute's rules for Exact and PathPrefix.

    ``at`` is where the path stands, for the error.
    """
    if _PATH.fullmatch(value) and not _UNSAFE_PATH.search(value):
        return
    if not value.startswith("/"):
        raise refuse(f"must start with '/': write {'/' + value!r} instead of {value!r}", *at)
    for part in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if part in value:
            raise refuse(f"must not contain {part!r}: {value!r}", *at)
    for end in ("/..", "/."):
        if value.endswith(end):
            raise refuse(f"must not end with {end!r}: {value!r}", *at)
    if "?" in value:
        raise refuse(f"must not have a query: write {value.partition('?')[0]!r} and match the rest by queryParams", *at)
    illegal = _ILLEGAL_IN_PATH.search(value)
    found = illegal.group() if illegal else ""
    escaped = "".join(f"%{byte:02X}" for byte in found.encode("utf-8", "replace"))
    raise refuse(f"must not contain {found!r}: write {escaped!r} in its place", *at)


def check_address(type_: str, value: str, *at: str | int) -> None:
    """Refuses a Gateway address that is not of its type: IPAddress or Hostname; other types may hold anything."""
    if type_ == "IPAddress":
        try:
            ip_address(value)
        except ValueError:
            raise refuse(f"must be an IPv4 or IPv6 address, not {value!r}", *at) from None
    elif type_ == "Hostname" and not _HOSTNAME.fullmatch(value):
        raise refuse(_hostname_mistake(value, wildcard=True), *at)


def check_routability(value: str) -> str:
    """Validator of an address' ``routability``: nothing, "Cluster", or a domain that is not Kubernetes' own, and a
    path."""
    domain, slash, rest = value.partition("/")
    reserved = domain == "k8s.io" or domain.endswith(".k8s.io")
    if value in ("", "Cluster") or (slash and rest and re.fullmatch(DNS_SUBDOMAIN, domain) and not reserved):
        return value
    raise refuse(f'must be "Cluster", or a value with a domain such as "example.com/name", not {value!r}')


_QUALIFIED_KEY = re.compile(rf"(?:{DNS_SUBDOMAIN}/)?(?:[A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]")


def check_qualified_keys(values: dict[str, str]) -> dict[str, str]:
    """Validator of labels and annotations: a name of up to 63 characters, after a domain and "/" if wanted."""
    for key in values:
        if len(key.partition("/")[0]) >= 253 or not _QUALIFIED_KEY.fullmatch(key):
            raise refuse("must be a key such as 'app' or 'example.com/app'", key)
    return values


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)
HashableT = TypeVar("HashableT", bound=Hashable)


def first_repeat(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """The places of the first value that is already there: (where it was, where it is again)."""
    places: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if places.setdefault(value, index) != index:
            return places[value], index
    return None


def unique_names(values: tuple[NamedT, ...]) -> tuple[NamedT, ...]:
    """Validator of a list whose entries are told apart by their name, compared as it is written."""
    if len(values) > 1 and (repeat := first_repeat(value.name for value in values)):
        raise refuse(f"{values[repeat[1]].name!r} is already in this list, at index {repeat[0]}", repeat[1], "name")
    return values


def unique_values(values: tuple[HashableT, ...]) -> tuple[HashableT, ...]:
    """Validator of a list that is a set."""
    if len(values) > 1 and (repeat := first_repeat(values)):
        raise refuse(f"{values[repeat[1]]!r} is already in this list, at index {repeat[0]}", repeat[1])
    return values


def wildcard_alone(values: tuple[str, ...]) -> tuple[str, ...]:
    """Validator of a list in which "*" stands for everything and therefore by itself."""
    if len(values) > 1 and "*" in values:
        raise refuse("'*' stands for all and must be the only entry", values.index("*"))
    return unique_values(values)
