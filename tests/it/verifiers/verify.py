# The checks of each product's receivers, implemented from the products' documentation.
# argv: the product. Each line of stdin is {"secret", "headers", "body": base64}; prints true or false for each.
import base64, hashlib, hmac, json, sys, time


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256)


def migma(secret, headers, body):
    # Over the parsed body, serialised again: the receiver has only request.get_json().
    printed = json.dumps(json.loads(body), separators=(",", ":")).encode()
    return hmac.compare_digest(headers["x-migma-signature"], mac(secret.encode(), printed).hexdigest())


def migomail(secret, headers, body):
    return hmac.compare_digest(headers["x-migomail-signature"], "sha256=" + mac(secret.encode(), body).hexdigest())


def metigan(secret, headers, body):
    parts = dict(part.split("=", 1) for part in headers["x-webhook-signature"].split(","))
    if time.time() - int(parts["t"]) > 300:
        return False
    return hmac.compare_digest(parts["v1"], mac(secret.encode(), parts["t"].encode() + b"." + body).hexdigest())


def magnetite(secret, headers, body):
    given = headers["x-magnetite-signature"].replace("sha256=", "")
    return hmac.compare_digest(given, mac(secret.encode(), body).hexdigest())


def mumara(secret, headers, body):
    return hmac.compare_digest(headers["x-mumara-token"], secret)


def standard(secret, headers, body):
    # Standard Webhooks 1.0.0, whose headers every delivery has in addition to the product's own.
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(mac(key, signed).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


rule = globals()[sys.argv[1]]
for line in sys.stdin:
    request = json.loads(line)
    verdict = rule(request["secret"], request["headers"], base64.b64decode(request["body"]))
    print("true" if verdict else "false")
