"""The addresses of the pages."""

from django.urls import path

from shop import views

urlpatterns = [
    path("orders/<str:customer>", views.buy),
    path("charge/<int:order>/<int:works_at>", views.charge),
    path("price/<int:pieces>", views.ask_price),
    path("results/<str:task_id>", views.result),
]
