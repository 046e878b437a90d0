"""A client for the event store Annals. Requests and answers are the messages of the contract."""

from annals.aio import AsyncClient as AsyncClient
from annals.aio import AsyncMember as AsyncMember
from annals.aio import AsyncRead as AsyncRead
from annals.aio import AsyncSubscription as AsyncSubscription
from annals.client import Client as Client
from annals.client import Member as Member
from annals.client import Read as Read
from annals.client import Subscription as Subscription
from annals.errors import *
from annals.progress import Loaded as Loaded
from annals.progress import event as event
from annals.progress import query as query
from annals.v1.append_pb2 import *
from annals.v1.checkpoint_service_pb2 import *
from annals.v1.consumer_group_service_pb2 import *
from annals.v1.errors_pb2 import *
from annals.v1.event_pb2 import *
from annals.v1.info_pb2 import *
from annals.v1.query_pb2 import *
from annals.v1.read_pb2 import *
from annals.v1.snapshot_pb2 import *
from annals.v1.stream_service_pb2 import *
