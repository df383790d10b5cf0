

class AnyCase(dict):
    def get(self, name, default=None):
        return super().get(name.lower(), default)


def drive():
    import base64, sys

    for line in sys.stdin:
        profile, body, secret, *pairs = line.rstrip("\n").split("\t")
        body, secret = base64.b64decode(body), base64.b64decode(secret).decode()
        named = (pair.split(":") for pair in pairs)
        headers = AnyCase((name, base64.b64decode(value).decode()) for name, value in named)
        print(*(str(verdict).lower() for verdict in [CALL]))


drive()
