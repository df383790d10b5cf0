"""An SMTP server that prints each message as a line of JSON: smtp.py tls|starttls CERTIFICATE KEY."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, certificate, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
starttls = mode == "starttls"


def say(**members):
    print(json.dumps(members), flush=True)


def authenticate(server, session, envelope, mechanism, data):
    accepted = data.login == b"user@example.com" and data.password == b"p+a ss=word"
    # Not handled: the server sends the reply 535.
    return AuthResult(success=accepted, handled=False)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("slow"):
            await asyncio.sleep(2)
        if address.startswith("busy"):
            return "451 4.7.1 greylisted, try again later"
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        say(
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            message=envelope.content.decode("utf-8", "replace"),
            client=session.peer[1],
            encrypted=session.ssl is not None or not starttls,
        )
        return "250 2.0.0 queued"


async def main():
    loop = asyncio.get_running_loop()

    def factory():
        return SMTP(
            Handler(),
            loop=loop,
            hostname="mail.example.com",
            authenticator=authenticate,
            auth_required=True,
            auth_require_tls=starttls,
            require_starttls=starttls,
            tls_context=context if starttls else None,
        )

    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=None if starttls else context)
    say(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
