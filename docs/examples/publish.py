"""Publish an event to Postrider with nothing but an AMQP client: pip install pika, or apt install python3-pika.

usage: POSTRIDER_AMQP_URL=amqp://user:password@host/vhost publish.py TENANT TYPE ID DATA
"""
import json, os, sys
import pika

tenant, event_type, event_id, data = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["POSTRIDER_AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()  # basic_publish then raises unless the broker has the message safe
channel.basic_publish(
    exchange="postrider.events",
    routing_key=f"{tenant}.{event_type.replace(' ', '_')}",
    body=json.dumps({"tenant": tenant, "type": event_type, "id": event_id, "data": json.loads(data)}),
    properties=pika.BasicProperties(content_type="application/json", delivery_mode=2),
    mandatory=True,
)
connection.close()
