"""Which JSON Web Tokens are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turntree.limits import invalid

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SYMMETRIC = ("HS256", "HS384", "HS512")
ALGORITHMS_DEFAULT = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Which tokens are accepted.

    Attributes:
        jwks: The keys that sign them: a file, or an https URL.
        audience: For whom they must be.
        issuer: By whom they must be.
        algorithms: How they may be signed.
        role_claim: The claim that holds the role.
        namespace_claim: The claim that holds the namespace.
    """

    jwks: str
    audience: str
    issuer: str
    algorithms: Sequence[str] = ALGORITHMS_DEFAULT
    role_claim: str = "turntree_role"
    namespace_claim: str = "turntree_namespace"

    def __post_init__(self) -> None:
        if not self.jwks.strip() or ("://" in self.jwks and not self.jwks.startswith("https://")):
            invalid("--jwks", self.jwks, "a file or an https:// URL")
        for name, value in (("--jwt-audience", self.audience), ("--jwt-issuer", self.issuer)):
            if not value.strip():
                invalid(name, value, "given with --jwks, and not blank")
        known = (*ASYMMETRIC, *SYMMETRIC)
        for algorithm in self.algorithms:
            if algorithm not in known:
                invalid("--jwt-algorithms", algorithm, f"some of {', '.join(known)}")
        if not self.algorithms:
            invalid("--jwt-algorithms", "", f"some of {', '.join(known)}")
