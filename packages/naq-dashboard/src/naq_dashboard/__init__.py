"""See and steer NAQ in a browser."""

from naq_core import __version__
from naq_dashboard.access.roles import ADMIN, OPERATOR, VIEWER, Action, Viewer
from naq_dashboard.app import NaqDashboardPlugin, create_app, dashboard_app
from naq_dashboard.other_server import OtherServer
from naq_dashboard.settings import DashboardSettings, User

__all__ = [
    "ADMIN",
    "OPERATOR",
    "VIEWER",
    "Action",
    "DashboardSettings",
    "NaqDashboardPlugin",
    "OtherServer",
    "User",
    "Viewer",
    "__version__",
    "create_app",
    "dashboard_app",
]
